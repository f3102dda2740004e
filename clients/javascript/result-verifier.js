// Verifies a result token for one relying party. The checks are in order in `ResultVerifier.verify`.
import { ClaimsError, member, numericDate, optionalMoment, optionalPlan, optionalText, text, texts } from "./claims.js";
import { JwsError, MAX_BYTES, isObject, isTooLarge, own, readJws, readObject } from "./jws.js";
import { ALGORITHMS, CachedKeys, FixedKeys, KeysUnavailable, verifies } from "./keys.js";
import { LEEWAY_SECONDS, checkProof, digest, normalizeUrl, rememberOnce } from "./proof.js";
import { refuse } from "./refusals.js";

const TOKEN_TYPE = "eat+jwt";
const PROFILE = "tag:ietf.org,2026:rats/ear#04";
const TENANT_CLAIM = "imds-verifier.tenant";
const SUBMODULE = "azure-imds";
const MACHINE_CLAIM = "imds-verifier.claims";
const REFUSED_PARAMETERS = ["crit", "jku", "jwk", "x5u", "x5c", "b64", "zip", "enc"];
const THUMBPRINT = /^[A-Za-z0-9_-]{43}$/;

export class ResultVerifier {
  #expected;
  #keys;
  #replayStore;
  #boundOnly;
  #singleUse;
  #clock;

  constructor({
    issuer,
    audience,
    tenant,
    policies,
    jwks,
    replayStore,
    boundOnly = false,
    singleUse = false,
    clock = () => new Date(),
  }) {
    if (![issuer, audience, tenant].every((name) => typeof name === "string" && name !== "")) {
      throw new TypeError("issuer, audience and tenant must be strings that are not empty");
    }
    if (!Array.isArray(policies) || policies.length === 0) {
      throw new TypeError("policies must be an array of at least one name");
    }
    if (typeof replayStore?.remember !== "function") throw new TypeError("replayStore must have remember()");
    this.#expected = { issuer, audience, tenant, policies: [...policies] };
    this.#keys = typeof jwks === "string" || jwks instanceof URL ? new CachedKeys(jwks) : new FixedKeys(jwks);
    this.#replayStore = replayStore;
    this.#boundOnly = boundOnly;
    this.#singleUse = singleUse;
    this.#clock = clock;
  }

  async verify(token, { proof: presented, method, url } = {}) {
    const proof = presented ?? undefined; // `null` is what some frameworks give for a header that did not come
    if (url !== undefined && url !== null && (typeof url !== "string" || normalizeUrl(url) === null)) {
      throw new TypeError("url must be the external URL of the endpoint: https://HOST[:PORT]/PATH, in ASCII");
    }
    if (proof !== undefined && (!method || typeof url !== "string")) {
      throw new TypeError("a proof needs the method and the external URL of the endpoint");
    }
    // 1. Form and header.
    const jws = readToken(token);
    // 2. Key and signature.
    await this.#checkSignature(token, jws.header);
    // 3. Claims of the token.
    const now = this.#clock();
    let machine;
    try {
      const claims = readObject(jws.payloadBytes);
      this.#checkClaims(claims, now);
      // 4. Appraisal and machine.
      machine = this.#readMachine(claims, boundKey(claims));
    } catch (error) {
      if (!(error instanceof JwsError || error instanceof ClaimsError)) throw error;
      refuse("claims-invalid", `The token's claims are invalid: ${error.message}.`);
    }
    // 5. Proof of possession.
    const thumbprint = machine.keyThumbprint;
    if (thumbprint === null) {
      if (this.#boundOnly || proof !== undefined) refuse("token-not-bound", "The token is not bound to a key.");
    } else if (proof === undefined) {
      refuse("proof-missing", "The token is bound to a key. Send a DPoP proof with it.");
    } else {
      const expected = { token, thumbprint, vmId: machine.vmId, method, url, now };
      await checkProof(proof, expected, this.#replayStore);
    }
    // 6. Single use.
    if (this.#singleUse) {
      await rememberOnce(this.#replayStore, digest(machine.vmId), machine.tokenId, {
        now,
        until: new Date(machine.tokenExpiresAt.getTime() + LEEWAY_SECONDS * 1000),
        code: "token-replayed",
        message: "The token was used before.",
      });
    }
    return machine;
  }

  async #checkSignature(token, header) {
    let key;
    try {
      key = await this.#keys.find(header.kid);
    } catch (error) {
      if (!(error instanceof KeysUnavailable)) throw error;
      refuse("keys-unavailable", "The verifier's keys are unavailable.");
    }
    if (key === undefined) refuse("key-unknown", "The token names a key that the verifier does not publish.");
    if (key.algorithm !== header.alg) {
      refuse("algorithm-refused", "The token's algorithm does not belong to its key.");
    }
    if (!(await verifies(token, key))) refuse("signature-invalid", "The token's signature is invalid.");
  }

  #checkClaims(claims, now) {
    const { issuer, audience, tenant } = this.#expected;
    if (text(claims, "eat_profile") !== PROFILE) refuse("profile-mismatch", "The token has another profile.");
    if (text(claims, "iss") !== issuer) refuse("issuer-mismatch", "The token is from another issuer.");
    if (own(claims, "aud") !== audience) refuse("audience-mismatch", "The token is for another audience.");
    if (text(claims, TENANT_CLAIM) !== tenant) refuse("tenant-mismatch", "The token is for another tenant.");
    const seconds = now.getTime() / 1000;
    if (seconds - numericDate(claims, "exp") >= LEEWAY_SECONDS) {
      refuse("token-expired", "The token is expired.");
    }
    const starts = ["iat", "nbf"].filter((name) => name === "iat" || Object.hasOwn(claims, name));
    if (Math.max(...starts.map((name) => numericDate(claims, name))) - seconds > LEEWAY_SECONDS) {
      refuse("token-not-yet-valid", "The token is not valid yet. Check the clocks.");
    }
  }

  #readMachine(claims, keyThumbprint) {
    const appraisal = member(member(claims, "submods"), SUBMODULE);
    if (text(appraisal, "ear_status") !== "affirming") refuse("not-affirmed", "The verifier does not affirm the VM.");
    const policies = texts(appraisal, "ear_appraisal_policy_ids");
    if (!this.#expected.policies.every((name) => policies.includes(name))) {
      refuse("policy-missing", "The token does not name each policy that is required.");
    }
    const machine = member(appraisal, MACHINE_CLAIM);
    return Object.freeze({
      vmId: text(machine, "vmId"),
      subscriptionId: optionalText(machine, "subscriptionId"),
      sku: optionalText(machine, "sku"),
      licenseType: optionalText(machine, "licenseType"),
      plan: optionalPlan(machine, "plan"),
      cloud: text(machine, "cloud"),
      createdOn: optionalMoment(machine, "createdOn"),
      expiresOn: optionalMoment(machine, "expiresOn"),
      trustGeneration: text(machine, "trustGeneration"),
      signerSha256: text(machine, "signerSha256"),
      nonce: text(claims, "eat_nonce"),
      tenant: this.#expected.tenant,
      policies,
      tokenId: text(claims, "jti"),
      tokenIssuedAt: new Date(numericDate(claims, "iat") * 1000),
      tokenExpiresAt: new Date(numericDate(claims, "exp") * 1000),
      keyThumbprint,
    });
  }
}

function readToken(token) {
  if (typeof token !== "string") refuse("token-malformed", "The token is not a string.");
  if (isTooLarge(token)) refuse("token-too-large", `The token is larger than ${MAX_BYTES} bytes.`);
  let jws;
  try {
    jws = readJws(token);
  } catch (error) {
    if (!(error instanceof JwsError)) throw error;
    refuse("token-malformed", `The token is malformed: ${error.message}.`);
  }
  const { header } = jws;
  if (own(header, "typ") !== TOKEN_TYPE) {
    refuse("token-type-refused", `The token has another type than ${TOKEN_TYPE}.`);
  }
  if (REFUSED_PARAMETERS.some((name) => Object.hasOwn(header, name))) {
    refuse("token-header-refused", "The token's header has a parameter that is refused.");
  }
  if (!ALGORITHMS.includes(own(header, "alg"))) {
    refuse("algorithm-refused", "The token's algorithm is neither ES256 nor EdDSA.");
  }
  if (typeof own(header, "kid") !== "string") refuse("key-unknown", "The token names no key.");
  return jws;
}

/** Returns the thumbprint of the key that the token is bound to. No other confirmation is supported (RFC 7800). */
function boundKey(claims) {
  if (!Object.hasOwn(claims, "cnf")) return null;
  const confirmation = claims.cnf;
  const thumbprint =
    isObject(confirmation) && Object.keys(confirmation).length === 1 ? own(confirmation, "jkt") : undefined;
  if (typeof thumbprint !== "string" || !THUMBPRINT.test(thumbprint)) {
    refuse("confirmation-unsupported", "The token is bound in a way that is not supported.");
  }
  return thumbprint;
}
