// Reads the claims of a result token into typed values.
import { isObject, own } from "./jws.js";

const MOMENT = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,6})?Z$/;
/** The start of the year 9000, as in Python. */
const LAST_SECOND = 221_845_392_000;

/** Reports a claim that is missing or has the wrong type. The message names it, and quotes no value. */
export class ClaimsError extends Error {}

export function member(fields, name) {
  const value = own(fields, name);
  if (!isObject(value)) throw new ClaimsError(`the claim '${name}' is missing or is not an object`);
  return value;
}

export function text(fields, name) {
  const value = own(fields, name);
  if (typeof value !== "string" || value === "") {
    throw new ClaimsError(`the claim '${name}' is missing or is not a string`);
  }
  return value;
}

export function optionalText(fields, name) {
  const value = own(fields, name);
  if (value !== null && typeof value !== "string") {
    throw new ClaimsError(`the claim '${name}' is missing or is neither a string nor null`);
  }
  return value;
}

export function texts(fields, name) {
  const value = own(fields, name);
  if (!Array.isArray(value) || !value.every((one) => typeof one === "string")) {
    throw new ClaimsError(`the claim '${name}' is missing or is not a list of strings`);
  }
  return Object.freeze([...value]);
}

/** Returns a NumericDate (RFC 7519 section 2): seconds, of full precision for comparisons. */
export function numericDate(fields, name) {
  const value = own(fields, name);
  if (typeof value !== "number" || value < 0 || value > LAST_SECOND) {
    throw new ClaimsError(`the claim '${name}' is missing or is not a time`);
  }
  return value;
}

export function optionalMoment(fields, name) {
  const value = optionalText(fields, name);
  if (value === null) return null;
  const moment = new Date(value);
  // Date accepts 30 February and moves it into March, and the year 0000, which Python does not have.
  const isMoment = MOMENT.test(value) && !value.startsWith("0000") && !Number.isNaN(moment.getTime());
  if (!isMoment || moment.toISOString().slice(0, 19) !== value.slice(0, 19)) {
    throw new ClaimsError(`the claim '${name}' is not a time in UTC`);
  }
  return moment;
}

export function optionalPlan(fields, name) {
  if (own(fields, name) === null) return null;
  const plan = member(fields, name);
  return Object.freeze({
    publisher: optionalText(plan, "publisher"),
    product: optionalText(plan, "product"),
    name: optionalText(plan, "name"),
  });
}
