// Reads public keys from JWKs (RFC 7517), fetches the verifier's key set, and caches it within bounds.
import { createHash, createPublicKey } from "node:crypto";
import { isIP } from "node:net";
import { compactVerify } from "jose";
import { isObject, own, readObject } from "./jws.js";

const MAX_KEYS = 32;
const MAX_KEY_SET_BYTES = 64 * 1024;
const FRESH_MS = 300_000;
const STALE_MS = 3_600_000;
const INTERVAL_MS = 10_000;
const TIMEOUT_MS = 5_000;
const KID = /^[\x21-\x7e]{1,128}$/;
const COORDINATE = /^[A-Za-z0-9_-]{43}$/;
const SECRET_MEMBERS = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/** The required members of each kind of key, in the order of RFC 7638 section 3.3, and its algorithm. */
const KINDS = [
  { kty: "EC", crv: "P-256", names: ["crv", "kty", "x", "y"], algorithm: "ES256" },
  { kty: "OKP", crv: "Ed25519", names: ["crv", "kty", "x"], algorithm: "EdDSA" },
];
/** The y of the Ed25519 points of order 1, 2, 4 and 8. With such a point as a key, anyone can sign. */
const FIELD = 2n ** 255n - 19n;
const ORDER_8 = 0x7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7n;
const LOW_ORDER = [0n, 1n, FIELD - 1n, ORDER_8, FIELD - ORDER_8];
export const ALGORITHMS = KINDS.map((kind) => kind.algorithm);

/** Reports a JWK, or a set of them, that is refused. The message quotes no part of it. */
export class KeyRefused extends TypeError {}
export class KeysUnavailable extends Error {}

/** Returns the public key of a JWK with its only algorithm and its thumbprint (RFC 7638). Throws KeyRefused. */
export function readKey(jwk) {
  if (!isObject(jwk)) throw new KeyRefused("it is not a JWK");
  if (SECRET_MEMBERS.some((name) => Object.hasOwn(jwk, name))) {
    throw new KeyRefused("it has a private or symmetric member");
  }
  const kind = KINDS.find(({ kty, crv }) => own(jwk, "kty") === kty && own(jwk, "crv") === crv);
  if (kind === undefined) throw new KeyRefused("it is neither a P-256 nor an Ed25519 key");
  const { names, algorithm } = kind;
  const is = (name, value) => !Object.hasOwn(jwk, name) || jwk[name] === value;
  if (!is("alg", algorithm) || !is("use", "sig")) {
    throw new KeyRefused("it is for another algorithm or use");
  }
  const members = Object.fromEntries(names.map((name) => [name, own(jwk, name)]));
  for (const name of names.slice(2)) {
    const value = members[name];
    if (typeof value !== "string" || !COORDINATE.test(value)) throw new KeyRefused("it has no valid coordinates");
  }
  if (algorithm === "EdDSA" && isWeak(members.x)) throw new KeyRefused("it is not a valid public key");
  try {
    const key = createPublicKey({ key: members, format: "jwk" });
    return { algorithm, key, thumbprint: createHash("sha256").update(JSON.stringify(members)).digest("base64url") };
  } catch {
    throw new KeyRefused("it is not a valid public key");
  }
}

/** Tells whether an Ed25519 point has a low order or a second spelling. Cryptographic libraries differ on both. */
function isWeak(coordinate) {
  const bigEndian = Buffer.from(coordinate, "base64url").reverse();
  const y = BigInt(`0x${bigEndian.toString("hex")}`) % 2n ** 255n; // without the sign of x
  return y >= FIELD || LOW_ORDER.includes(y);
}

/** Tells whether the key made the signature of the token. */
export async function verifies(token, { algorithm, key }) {
  try {
    await compactVerify(token, key, { algorithms: [algorithm] });
    return true;
  } catch (error) {
    if (String(error?.code).startsWith("ERR_JW")) return false;
    throw error;
  }
}

/** Returns the usable keys of a JWK Set by their `kid`. A key of another kind is ignored (RFC 7517 section 5). */
export function readKeySet(document) {
  const described = isObject(document) ? own(document, "keys") : undefined;
  if (!Array.isArray(described) || described.length > MAX_KEYS) {
    throw new KeyRefused(`it is not a JWK Set of at most ${MAX_KEYS} keys`);
  }
  const named = described.filter((jwk) => isObject(jwk) && typeof own(jwk, "kid") === "string");
  if (new Set(named.map(({ kid }) => kid)).size !== named.length) throw new KeyRefused("it has two keys of one name");
  const keys = new Map();
  for (const jwk of named.filter(({ kid }) => KID.test(kid))) {
    try {
      keys.set(jwk.kid, readKey(jwk));
    } catch (error) {
      if (!(error instanceof KeyRefused)) throw error;
    }
  }
  if (keys.size === 0) throw new KeyRefused("it has no usable key");
  return keys;
}

/** Holds a key set that the relying party passes in and replaces by itself. */
export class FixedKeys {
  #keys;

  constructor(document) {
    this.#keys = readKeySet(document);
  }

  async find(kid) {
    return this.#keys.get(kid);
  }
}

/**
 * Caches the key set of a URL. A set is used without a request for 300 s. After that a call fetches it again, and so does
 * a call that names an unknown key, but at most one in 10 s. If the fetch fails, the previous keys stay in use for 1 h
 * after they were fetched.
 */
export class CachedKeys {
  #url;
  #monotonic;
  #keys = new Map();
  #fetchedAt = -Infinity;
  #attemptedAt = -Infinity;
  #isDown = false;
  #fetching;

  constructor(url, monotonic = () => performance.now()) {
    this.#url = keySetUrl(url);
    this.#monotonic = monotonic;
  }

  async find(kid) {
    if (!this.#keys.has(kid) || this.#age() >= FRESH_MS) await this.#refresh();
    const age = this.#age();
    if (age >= STALE_MS) throw new KeysUnavailable("no key set of the verifier is available");
    if (!this.#keys.has(kid) && age >= FRESH_MS) throw new KeysUnavailable("the key set is out of date");
    return this.#keys.get(kid);
  }

  #age() {
    return this.#monotonic() - this.#fetchedAt;
  }

  /**
   * Fetches the key set, unless the last attempt is recent. Calls that come meanwhile wait for this one, but not if the
   * last attempt failed.
   */
  async #refresh() {
    if (this.#fetching !== undefined && this.#isDown) return;
    if (this.#fetching === undefined && this.#monotonic() - this.#attemptedAt >= INTERVAL_MS) {
      this.#attemptedAt = this.#monotonic();
      this.#fetching = this.#fetch(this.#attemptedAt).finally(() => {
        this.#fetching = undefined;
      });
    }
    await this.#fetching;
  }

  async #fetch(startedAt) {
    try {
      this.#keys = readKeySet(readObject(await download(this.#url)));
      this.#fetchedAt = startedAt;
      this.#isDown = false;
    } catch {
      // The previous keys stay in use until they are too old.
      this.#isDown = true;
    }
  }
}

function keySetUrl(text) {
  const url = new URL(text);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const isLoopback = host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
  if (url.username !== "" || url.password !== "" || url.hash !== "") throw new TypeError("the URL of the key set must be https://HOST[:PORT]/PATH");
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isLoopback)) {
    throw new TypeError("the URL of the key set must use https, except on loopback");
  }
  return url;
}

/** Returns the body of a 200 answer. It follows no redirect. */
async function download(url) {
  const response = await fetch(url, {
    redirect: "error",
    signal: AbortSignal.timeout(TIMEOUT_MS),
    headers: { accept: "application/json, application/jwk-set+json" },
  });
  if (response.status !== 200 || response.body === null) {
    await response.body?.cancel();
    throw new Error(`the key set was answered with status ${response.status}`);
  }
  const chunks = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.length;
    if (size > MAX_KEY_SET_BYTES) throw new Error("the key set is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
