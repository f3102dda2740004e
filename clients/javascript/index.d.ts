/** One of the codes that docs/integrate/relying-party.md explains. */
export type RefusalCode =
  | "token-too-large"
  | "token-malformed"
  | "token-type-refused"
  | "token-header-refused"
  | "algorithm-refused"
  | "key-unknown"
  | "keys-unavailable"
  | "signature-invalid"
  | "claims-invalid"
  | "profile-mismatch"
  | "issuer-mismatch"
  | "audience-mismatch"
  | "tenant-mismatch"
  | "token-expired"
  | "token-not-yet-valid"
  | "not-affirmed"
  | "policy-missing"
  | "confirmation-unsupported"
  | "token-not-bound"
  | "token-replayed"
  | "proof-missing"
  | "proof-too-large"
  | "proof-malformed"
  | "proof-type-refused"
  | "proof-header-refused"
  | "proof-algorithm-refused"
  | "proof-key-refused"
  | "proof-key-mismatch"
  | "proof-signature-invalid"
  | "proof-claims-invalid"
  | "proof-method-mismatch"
  | "proof-url-mismatch"
  | "proof-token-mismatch"
  | "proof-expired"
  | "proof-not-yet-valid"
  | "proof-replayed"
  | "replay-store-unavailable";

export const REFUSAL_CODES: readonly RefusalCode[];

/** Reports a key set that has no usable key, or is none. The message quotes no part of it. */
export class KeyRefused extends TypeError {}

/** Reports that a token is not accepted. The message quotes no part of the token or the proof. */
export class NotVerified extends Error {
  constructor(code: RefusalCode, message: string);
  readonly code: RefusalCode;
  /** Whether the token was not decided on, so that the same token may pass later. Answer 503 then. */
  get isTemporary(): boolean;
}

/** Reports that a store cannot remember now. The verifier then accepts no token that needs the store. */
export class ReplayStoreError extends Error {}

/** Remembers identifiers until they expire. Processes that serve one backend must share one store. */
export interface ReplayStore {
  /** Stores the identifier, and returns true if it is new in its scope, a VM. Both must be one atomic step. */
  remember(scope: string, identifier: string, times: { now: Date; until: Date }): Promise<boolean>;
}

/** Remembers in this process: for one process, and only while it runs. */
export class MemoryReplayStore implements ReplayStore {
  constructor(limits?: { maxEntries?: number; maxEntriesPerScope?: number });
  remember(scope: string, identifier: string, times: { now: Date; until: Date }): Promise<boolean>;
}

export interface Plan {
  readonly publisher: string | null;
  readonly product: string | null;
  readonly name: string | null;
}

/** What the verifier signed about a VM. Each claim that the document does not carry is null. */
export interface VerifiedMachine {
  readonly vmId: string;
  readonly subscriptionId: string | null;
  readonly sku: string | null;
  readonly licenseType: string | null;
  readonly plan: Plan | null;
  readonly cloud: string;
  readonly createdOn: Date | null;
  readonly expiresOn: Date | null;
  readonly trustGeneration: string;
  readonly signerSha256: string;
  readonly nonce: string;
  readonly tenant: string;
  readonly policies: readonly string[];
  readonly tokenId: string;
  readonly tokenIssuedAt: Date;
  readonly tokenExpiresAt: Date;
  readonly keyThumbprint: string | null;
}

export interface ResultVerifierOptions {
  issuer: string;
  audience: string;
  /** The name of this relying party at the verifier. */
  tenant: string;
  /** The policies that each token must name, at least one. */
  policies: readonly string[];
  /** The https URL of the verifier's key set, or the key set itself. */
  jwks: string | URL | { keys: readonly object[] };
  replayStore: ReplayStore;
  /** Refuse tokens that are not bound to a key. */
  boundOnly?: boolean;
  /** Accept each token once. */
  singleUse?: boolean;
  clock?: () => Date;
}

export interface Presentation {
  /** The DPoP proof that came with the token, or null if none did. */
  proof?: string | null;
  /** The HTTP method of the request. */
  method?: string;
  /** The configured external URL of the endpoint. Do not take it from the request. */
  url?: string;
}

export class ResultVerifier {
  /** Throws KeyRefused for `jwks`, and TypeError for another option that cannot be used. */
  constructor(options: ResultVerifierOptions);
  /**
   * Resolves to the VM that the verifier vouches for. Rejects with NotVerified, and with TypeError if `url` is not the
   * URL of an endpoint or a proof comes without `method` and `url`.
   */
  verify(token: string, presentation?: Presentation): Promise<VerifiedMachine>;
}
