// Verifies tokens with the package in clients/javascript. In: {keySet, now, expected, cases}, as JSON on standard input.
// Out: for each case the code of its last presentation, or the machine.
import { readFileSync } from "node:fs";
import { MemoryReplayStore, NotVerified, ResultVerifier } from "./index.js";

const asked = JSON.parse(readFileSync(0, "utf8"));
const outcomes = [];
/** Keeps the scopes that it was asked for. */
class ObservedReplayStore extends MemoryReplayStore {
  scopes = [];

  async remember(scope, identifier, times) {
    this.scopes.push(scope);
    return super.remember(scope, identifier, times);
  }
}
for (const { token, proofs, method, url, bound_only, single_use } of asked.cases) {
  const replayStore = new ObservedReplayStore();
  const verifier = new ResultVerifier({
    ...asked.expected,
    jwks: asked.keySet,
    replayStore,
    boundOnly: bound_only,
    singleUse: single_use,
    clock: () => new Date(asked.now * 1000),
  });
  let outcome;
  for (const proof of proofs) {
    try {
      const presentation = { proof, method, url };
      outcome = { code: "ok", machine: await verifier.verify(token, presentation) };
    } catch (error) {
      if (!(error instanceof NotVerified)) throw error;
      outcome = { code: error.code, message: error.message };
    }
  }
  outcomes.push({ ...outcome, scopes: replayStore.scopes });
}
process.stdout.write(JSON.stringify(outcomes));
