// Checks result tokens with jose, by a key set alone. In: {keySet, issuer, audience, now, tokens}, as JSON on standard
// input. Out: for each token its claims, or null where it is refused.
import { readFileSync } from "node:fs";
import { createLocalJWKSet, jwtVerify } from "jose";

const asked = JSON.parse(readFileSync(0, "utf8"));
const keys = createLocalJWKSet(asked.keySet);
const answers = [];
for (const token of asked.tokens) {
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ["ES256", "EdDSA"],
      issuer: asked.issuer,
      audience: asked.audience,
      typ: "eat+jwt",
      currentDate: new Date(asked.now * 1000),
      requiredClaims: ["exp", "iat", "jti"],
    });
    answers.push(payload);
  } catch (error) {
    if (!(error instanceof Error) || !String(error.code).startsWith("ERR_J")) throw error;
    answers.push(null);
  }
}
process.stdout.write(JSON.stringify(answers));
