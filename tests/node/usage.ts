// A relying party in TypeScript. tsc checks it; it is not run.
import { MemoryReplayStore, NotVerified, REFUSAL_CODES, ResultVerifier } from "imds-verifier-relying-party";
import type { RefusalCode, ReplayStore, VerifiedMachine } from "imds-verifier-relying-party";

class OwnStore implements ReplayStore {
  async remember(scope: string, identifier: string, times: { now: Date; until: Date }): Promise<boolean> {
    return scope !== identifier && times.now < times.until;
  }
}

const options = { issuer: "i", audience: "a", tenant: "t", policies: ["p"], jwks: "https://a.example/keys" };
const results = new ResultVerifier({ ...options, replayStore: new OwnStore(), boundOnly: true });
new ResultVerifier({ ...options, jwks: { keys: [{ kty: "OKP" }] }, replayStore: new MemoryReplayStore({ maxEntries: 1 }) });

export async function license(token: string, proof: string | undefined): Promise<string> {
  try {
    const machine: VerifiedMachine = await results.verify(token, { proof, method: "POST", url: "https://a.example/" });
    const product: string | null | undefined = machine.plan?.product;
    // @ts-expect-error - a machine is read-only
    machine.vmId = "another";
    return `${machine.vmId} ${product ?? ""} ${machine.tokenExpiresAt.toISOString()}`;
  } catch (error) {
    if (!(error instanceof NotVerified)) throw error;
    const code: RefusalCode = error.code;
    // @ts-expect-error - there is no such code
    if (code === "no-such-code") return "";
    return error.isTemporary ? "503" : `403 ${REFUSAL_CODES.indexOf(code)}`;
  }
}

// @ts-expect-error - the replay store is required
new ResultVerifier(options);
// @ts-expect-error - policies are a list
new ResultVerifier({ ...options, policies: "p", replayStore: new OwnStore() });
