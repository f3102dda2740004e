// Checks a DPoP proof (RFC 9449 section 4.3): the presenter of a token holds the key that the token is bound to.
import { createHash } from "node:crypto";
import { ClaimsError, numericDate, text } from "./claims.js";
import { JwsError, MAX_BYTES, isTooLarge, own, readJws, readObject } from "./jws.js";
import { ALGORITHMS, KeyRefused, readKey, verifies } from "./keys.js";
import { refuse } from "./refusals.js";
import { ReplayStoreError } from "./replay.js";

/** How far the clocks of the verifier, the VM and the relying party may be apart. */
export const LEEWAY_SECONDS = 60;
/** A proof is good for so long after it was made, beside the leeway between the clocks. */
const PROOF_LIFETIME_SECONDS = 60;
const MAX_ID_BYTES = 256;
const DEFAULT_PORTS = { https: "443", http: "80" };
const HEADER = ["typ", "alg", "jwk"];
const URL_PARTS = /^(https?):\/\/([a-z0-9.-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?(\/[!-"$->@-~]*)?(?:[?#][!-~]*)?$/i;

/** Accepts the proof once. Throws NotVerified. */
export async function checkProof(proof, expected, replayStore) {
  if (typeof proof !== "string") refuse("proof-malformed", "The proof is not a string.");
  if (isTooLarge(proof)) refuse("proof-too-large", `The proof is larger than ${MAX_BYTES} bytes.`);
  let jws;
  try {
    jws = readJws(proof);
  } catch (error) {
    if (!(error instanceof JwsError)) throw error;
    refuse("proof-malformed", `The proof is malformed: ${error.message}.`);
  }
  const key = readHeader(jws.header);
  if (key.thumbprint !== expected.thumbprint) {
    refuse("proof-key-mismatch", "The proof was made with another key than the token's.");
  }
  if (!(await verifies(proof, key))) refuse("proof-signature-invalid", "The signature of the proof is invalid.");
  const { madeAt, identifier } = checkClaims(jws, expected);
  // For this VM and not for its key, because one VM can have any number of keys.
  await rememberOnce(replayStore, digest(expected.vmId), identifier, {
    now: expected.now,
    until: new Date((Math.ceil(madeAt) + PROOF_LIFETIME_SECONDS + LEEWAY_SECONDS) * 1000),
    code: "proof-replayed",
    message: "The proof was used before. Make a new proof for each request.",
  });
}

/** Stores the digest of the identifier, so that its length is bounded. Throws NotVerified. */
export async function rememberOnce(store, scope, identifier, { now, until, code, message }) {
  let isNew;
  try {
    isNew = await store.remember(scope, digest(identifier), { now, until });
  } catch (error) {
    if (!(error instanceof ReplayStoreError)) throw error;
    refuse("replay-store-unavailable", "The replay store is unavailable.");
  }
  if (isNew !== true) refuse(code, message);
}

export function digest(value) {
  return createHash("sha256").update(value).digest("base64url");
}

/** Returns scheme, host, port and path as RFC 9449 section 4.3 compares them, or null if it is no such URL. */
export function normalizeUrl(url) {
  const match = URL_PARTS.exec(url);
  if (match === null || match[0] !== url) return null;
  const [, scheme, host, port, path] = match;
  const suffix = port === undefined || port === DEFAULT_PORTS[scheme.toLowerCase()] ? "" : `:${port}`;
  return `${scheme.toLowerCase()}://${host.toLowerCase()}${suffix}${path ?? "/"}`;
}

function readHeader(header) {
  if (own(header, "typ") !== "dpop+jwt") {
    refuse("proof-type-refused", "The proof has another type than dpop+jwt.");
  }
  if (!Object.keys(header).every((name) => HEADER.includes(name))) {
    refuse("proof-header-refused", "The proof's header has other parameters than its own.");
  }
  const algorithm = own(header, "alg");
  if (!ALGORITHMS.includes(algorithm)) {
    refuse("proof-algorithm-refused", "The proof's algorithm is neither ES256 nor EdDSA.");
  }
  let key;
  try {
    key = readKey(own(header, "jwk"));
  } catch (error) {
    if (!(error instanceof KeyRefused)) throw error;
    refuse("proof-key-refused", `The proof's key is refused: ${error.message}.`);
  }
  if (key.algorithm !== algorithm) {
    refuse("proof-algorithm-refused", "The proof's algorithm does not belong to its key.");
  }
  return key;
}

function checkClaims(jws, expected) {
  let identifier, method, url, tokenDigest, madeAt;
  try {
    const claims = readObject(jws.payloadBytes);
    [identifier, method, url, tokenDigest] = ["jti", "htm", "htu", "ath"].map((name) => text(claims, name));
    madeAt = numericDate(claims, "iat");
  } catch (error) {
    if (!(error instanceof JwsError || error instanceof ClaimsError)) throw error;
    refuse("proof-claims-invalid", `The proof's claims are invalid: ${error.message}.`);
  }
  if (Buffer.byteLength(identifier) > MAX_ID_BYTES) {
    refuse("proof-claims-invalid", `The proof's jti has more than ${MAX_ID_BYTES} bytes.`);
  }
  if (method !== expected.method) refuse("proof-method-mismatch", "The proof is for another HTTP method.");
  const found = normalizeUrl(url);
  if (found === null || found !== normalizeUrl(expected.url)) {
    refuse("proof-url-mismatch", "The proof is for another URL.");
  }
  if (tokenDigest !== digest(expected.token)) refuse("proof-token-mismatch", "The proof is for another token.");
  const age = expected.now.getTime() / 1000 - madeAt;
  if (age > PROOF_LIFETIME_SECONDS + LEEWAY_SECONDS) {
    refuse("proof-expired", "The proof is too old. Make a new proof for each request.");
  }
  if (age < -LEEWAY_SECONDS) refuse("proof-not-yet-valid", "The proof is from the future. Check the clocks.");
  return { madeAt, identifier };
}
