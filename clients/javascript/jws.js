// Reads a compact JWS (RFC 7515 section 7.1) strictly, so that no two parsers read it differently.

/** Several times the size of a result token, and less than the header limit of common web servers. */
export const MAX_BYTES = 8 * 1024;
const MAX_BRACKETS = 64;
const SEGMENTS = /^([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]*)$/;
const JSON_STRING = /"(?:[^"\\]|\\.)*"?/gs;

/** Reports a malformed JWS. The message quotes no part of it. */
export class JwsError extends Error {}

/** Tells whether the text has more than MAX_BYTES in UTF-8. */
export function isTooLarge(text) {
  return text.length > MAX_BYTES || Buffer.byteLength(text) > MAX_BYTES;
}

/** Splits a JWS that `isTooLarge` does not refuse, and decodes its header. Not checked: the signature. */
export function readJws(text) {
  const match = SEGMENTS.exec(text);
  if (match === null || text.endsWith("\n")) throw new JwsError("it is not three base64url segments");
  const [header, payload] = match.slice(1).map(decodeSegment);
  return { header: readObject(header), payloadBytes: payload };
}

/** Decodes base64url without padding. Refuses a second spelling of the same bytes. */
function decodeSegment(segment) {
  const decoded = Buffer.from(segment, "base64url");
  if (decoded.toString("base64url") !== segment) {
    throw new JwsError("it has a segment that is not canonical base64url");
  }
  return decoded;
}

/**
 * Decodes one JSON object. Refuses duplicate names, lone surrogates, numbers that are not finite, and deep nesting.
 */
export function readObject(bytes) {
  let value, bare;
  try {
    const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
    bare = text.replace(JSON_STRING, "");
    if (bare.split(/[[{]/).length - 1 > MAX_BRACKETS) throw new JwsError("its JSON is too complex");
    value = JSON.parse(text);
  } catch (error) {
    throw error instanceof JwsError ? error : new JwsError("it is not JSON in UTF-8");
  }
  if (!isObject(value)) throw new JwsError("it is not a JSON object");
  // JSON.parse keeps the last of two members with one name. Each member has one colon outside of strings.
  if (countMembers(value) !== bare.split(":").length - 1) throw new JwsError("its JSON has a duplicate name");
  return value;
}

/** Counts the members at all depths, and refuses values that other parsers read differently. */
function countMembers(value) {
  if (typeof value === "string" && !value.isWellFormed()) throw new JwsError("it is not JSON in UTF-8");
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new JwsError("its JSON has a number that is not finite");
  }
  if (Array.isArray(value)) return value.reduce((total, one) => total + countMembers(one), 0);
  if (!isObject(value)) return 0;
  return Object.entries(value).reduce((total, [name, one]) => total + 1 + countMembers(name) + countMembers(one), 0);
}

export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Returns the object's own member, or undefined. */
export function own(fields, name) {
  return Object.hasOwn(fields, name) ? fields[name] : undefined;
}
