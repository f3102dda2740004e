// Ask the service. The key lives in this module's memory only: never in storage, a cookie or a URL.
import { byId, el, moment, notice, shown } from "./dom.js";

let key = "";
const field = byId("key");
field.addEventListener("input", () => (key = field.value.trim()));
byId("key-form").addEventListener("submit", (event) => event.preventDefault());

export function hasKey() {
  return key !== "";
}

/** An answer that is no success, or none at all (`status` is 0). `body` is the problem document, if there is one. */
export class Problem extends Error {
  constructor(status, body, retryAfter = null) {
    super(body.detail ?? "");
    this.status = status;
    this.code = body.code ?? "";
    this.detail = body.detail ?? "";
    this.requestId = body.requestId ?? "";
    this.retryAfter = body.retryAfterSeconds ?? retryAfter;
  }
}

// Keeps a number of the signed content as it was written, also one that a double cannot hold.
function keepNumber(name, value, context) {
  const isOther = typeof value === "number" && context?.source !== undefined && String(value) !== context.source;
  return isOther && JSON.rawJSON ? JSON.rawJSON(context.source) : value;
}

/**
 * Send a request and return the JSON of its answer. Throws Problem. `query` leaves out empty values. With `isExact`,
 * `JSON.stringify` prints each number as the service wrote it, where the browser can.
 */
export async function ask(path, { method = "GET", query = {}, body, type, signal, isExact = false } = {}) {
  const parameters = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null));
  const address = parameters.size ? `${path}?${parameters}` : path;
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (type) headers["Content-Type"] = type;
  let answer;
  let text;
  try {
    answer = await fetch(address, {
      method, headers, body, signal, cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
    });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    // A header can carry only Latin-1, and the browser then sends nothing.
    const isKey = /[^\x20-\x7e]/.test(key);
    throw new Problem(0, { code: isKey ? "key-unusable" : "network" });
  }
  let value;
  try {
    value = JSON.parse(text, isExact ? keepNumber : undefined);
  } catch {
    throw new Problem(answer.status, { code: "not-json" });
  }
  if (!answer.ok) throw new Problem(answer.status, value, Number(answer.headers.get("Retry-After")) || null);
  return value;
}

/** Return the two sentences of a problem: what happened, and what to do. `needed` names the keys that the path accepts. */
export function explain(problem, needed) {
  const seconds = problem.retryAfter;
  const wait = seconds ? `Try again in ${seconds} second${seconds === 1 ? "" : "s"}.` : "Try again later.";
  switch (problem.status) {
    case 0:
      return problem.code === "key-unusable"
        ? ["The API key has a character that no key has.", "Copy the key again."]
        : ["The service did not answer.", "Look at the network and at the service, then try again."];
    case 401:
      return hasKey()
        ? ["The service does not know this API key.", `Type ${needed} into the field “API key”.`]
        : ["The service asks for an API key.", `Type ${needed} into the field “API key”.`];
    case 403:
      return ["This kind of API key is not allowed here.", `Type ${needed} into the field “API key”.`];
    case 413:
      return ["The request is larger than this service reads.", "One document has 1.4 to 4.4 KB."];
    case 429:
      return ["You have sent more requests than your rate allows.", wait];
    case 503:
      return ["The service is not available at the moment.", wait];
    case 404:
      return ["The service does not have this.", ""];
    default:
      return problem.status >= 500
        ? ["The service failed.", "Report the request id below."]
        : ["The service did not accept the request.", ""];
  }
}

/** Return an element that shows a problem. Throws any other error again, so that the console shows it. */
export function problemNotice(problem, needed) {
  if (!(problem instanceof Problem)) throw problem;
  const [what, next] = explain(problem, needed);
  const isDocumented = problem.requestId !== "" && /^[a-z-]+$/.test(problem.code);
  return notice(
    "bad",
    what,
    next && el("p", {}, next),
    problem.detail && el("p", {}, "The service says: ", shown(problem.detail)),
    problem.status !== 0 && el(
      "p",
      { class: "soft" },
      `HTTP status ${problem.status}. `,
      isDocumented && ["Code ", el("a", { href: `/problems/${problem.code}` }, problem.code), ". "],
      problem.requestId && ["Request id ", shown(problem.requestId, { className: "code" }), "."],
    ),
  );
}
