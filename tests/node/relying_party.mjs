// Verifies tokens with the package in clients/javascript. In: {keySet, now, expected, cases}, as JSON on standard input.
// Out: for each case the code of its last presentation, or the machine.
import { readFileSync } from "node:fs";
import { MemoryReplayStore, NotVerified, ResultVerifier } from "./index.js";

const asked = JSON.parse(readFileSync(0, "utf8"));
const outcomes = [];
for (const { token, proofs, method, url, bound_only, single_use } of asked.cases) {
  const verifier = new ResultVerifier({
    ...asked.expected,
    jwks: asked.keySet,
    replayStore: new MemoryReplayStore(),
    boundOnly: bound_only,
    singleUse: single_use,
    clock: () => new Date(asked.now * 1000),
  });
  let outcome;
  for (const proof of proofs) {
    try {
      const presentation = { proof: proof ?? undefined, method: method ?? undefined, url: url ?? undefined };
      outcome = { code: "ok", machine: await verifier.verify(token, presentation) };
    } catch (error) {
      if (!(error instanceof NotVerified)) throw error;
      outcome = { code: error.code, message: error.message };
    }
  }
  outcomes.push(outcome);
}
process.stdout.write(JSON.stringify(outcomes));
