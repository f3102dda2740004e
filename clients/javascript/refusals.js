// Names every reason for which a result token is not accepted. The codes are those of the Python package.
export const REFUSAL_CODES = Object.freeze([
  "token-too-large",
  "token-malformed",
  "token-type-refused",
  "token-header-refused",
  "algorithm-refused",
  "key-unknown",
  "keys-unavailable",
  "signature-invalid",
  "claims-invalid",
  "profile-mismatch",
  "issuer-mismatch",
  "audience-mismatch",
  "tenant-mismatch",
  "token-expired",
  "token-not-yet-valid",
  "not-affirmed",
  "policy-missing",
  "confirmation-unsupported",
  "token-not-bound",
  "token-replayed",
  "proof-missing",
  "proof-too-large",
  "proof-malformed",
  "proof-type-refused",
  "proof-header-refused",
  "proof-algorithm-refused",
  "proof-key-refused",
  "proof-key-mismatch",
  "proof-signature-invalid",
  "proof-claims-invalid",
  "proof-method-mismatch",
  "proof-url-mismatch",
  "proof-token-mismatch",
  "proof-expired",
  "proof-not-yet-valid",
  "proof-replayed",
  "replay-store-unavailable",
]);

/** Reports that a token is not accepted. The message quotes no part of the token or the proof. */
export class NotVerified extends Error {
  constructor(code, message) {
    super(message);
    this.name = "NotVerified";
    this.code = code;
  }

  /** Tells whether the token was not decided on, so that the same token may pass later. Answer 503 then. */
  get isTemporary() {
    return this.code === "keys-unavailable" || this.code === "replay-store-unavailable";
  }
}

/** Throws NotVerified. */
export function refuse(code, message) {
  throw new NotVerified(code, message);
}
