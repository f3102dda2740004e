/**
 * Verifies the result tokens of imds-verifier in a licensing backend. docs/integrate/relying-party.md explains it.
 */
export { KeyRefused } from "./keys.js";
export { NotVerified, REFUSAL_CODES } from "./refusals.js";
export { MemoryReplayStore, ReplayStoreError } from "./replay.js";
export { ResultVerifier } from "./result-verifier.js";
