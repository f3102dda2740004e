// Show one decision: a line of the list that opens the whole record.
import { badge, copyButton, el, jsonText, moment, shown } from "./dom.js";
import { brief, code, facts, wideTable } from "./common.js";
import { VERDICTS } from "./verdicts.js";

export const HEADINGS = ["Time", "Verdict", "Code", "VM", "Plan", "Failed check"];

/** Return an element of the list. It builds the whole record when it is opened. */
export function decisionItem(decision, { isOpen = false } = {}) {
  const body = el("div", { class: "record" });
  const details = el(
    "details", { class: "decision", open: isOpen },
    el(
      "summary", { class: "columns" },
      el("span", {}, moment(decision.time)),
      el("span", {}, verdictBadge(decision.verdict)),
      named("code", brief(decision.code, 60)),
      named("VM", decision.vmId ? code(decision.vmId) : null, "column-vm"),
      named("plan", decision.plan.name ? brief(decision.plan.name, 40) : null),
      named("failed check", decision.failedCheck ? brief(decision.failedCheck, 40) : null),
    ),
    body,
  );
  const build = () => details.open && !body.hasChildNodes() && body.append(...record(decision));
  details.addEventListener("toggle", build);
  build();
  return el("li", {}, details);
}

/** A value of the line. Screen readers also hear its name, and a missing value is a dash for eyes only. */
function named(name, value, className = "") {
  return el("span", { class: className }, value
    ? [el("span", { class: "label" }, `${name} `), value]
    : el("span", { class: "none", "aria-hidden": "true" }, "–"));
}

export function verdictBadge(verdict) {
  return badge(VERDICTS[verdict] ?? "off", verdict);
}

/** Return the nodes that show everything about a decision. */
export function record(decision) {
  const isProblem = decision.verdict !== "verified" && /^[a-z-]+$/.test(decision.code);
  const { publisher, product, name } = decision.plan;
  // The record of a request without a document has no words of a sender.
  const isUnproven = !decision.vmId && Boolean(decision.failedCheck || decision.documentSha256 || decision.issuer || decision.signerSerial);
  const said = (label) => (isUnproven ? [label, " ", notProven()] : label);
  return [
    decision.detail && el("p", { class: "sentence" }, isUnproven && decision.verdict === "refused" && [notProven(), " "],
      shown(decision.detail, { limit: 600 })),
    isProblem && el("p", {}, el("a", { href: `/problems/${decision.code}` }, `What “${decision.code}” means, and what to do`)),
    decision.denial && denialBox(decision.denial),
    facts([
      ["Request", code(decision.requestId)],
      ["Caller's request id", decision.clientRequestId && code(decision.clientRequestId)],
      ["Route", decision.route && code(decision.route)],
      ["Tenant", decision.tenant || (decision.key?.startsWith("admin:") ? "none (an admin key)" : "(a request without a valid key)")],
      ["API key", decision.key && code(decision.key)],
      ["VM", decision.vmId && code(decision.vmId)],
      ["Subscription", decision.subscriptionId && code(decision.subscriptionId)],
      ["Plan: publisher", publisher],
      ["Plan: product", product],
      ["Plan: name", name],
      ["SKU", decision.sku],
      ["License type", decision.licenseType],
      [said("Cloud"), decision.cloud],
      ["Policies", decision.policies.length > 0 && decision.policies.map((policy, index) => [index ? ", " : "", shown(policy)])],
      [said("Signer's serial number"), decision.signerSerial && code(decision.signerSerial)],
      [said("Issuer"), decision.issuer],
      ["SHA-256 of the document", decision.documentSha256 && code(decision.documentSha256)],
      ["Duration", `${decision.milliseconds} ms`],
    ]),
    isUnproven && el("p", { class: "soft" },
      "Without a passed chain check, the claims are not proven, so no record has them. Anyone can forge what is marked as ", notProven(), "."),
    steps(decision),
    el("div", { class: "row" }, copyButton("Copy as JSON", () => jsonText(decision))),
  ].filter(Boolean);
}

/** The mark of what a document says that no chain check has proved. */
function notProven() {
  return el("span", { class: "mark" }, "not proven");
}

function denialBox(denial) {
  const more = denial.allowedCount - denial.allowed.length;
  const allowed = denial.allowed.map((value) => el("li", {}, shown(value)));
  return el(
    "div", { class: "panel denial" },
    el("h3", {}, "The rule that refused it"),
    facts([
      ["Policy", denial.policy],
      ["Rule", denial.rule],
      ["Found", denial.found === null ? el("span", { class: "soft" }, "no single value") : shown(denial.found)],
      ["Allowed", allowed.length > 0 && el("ul", { class: "plain" }, allowed, more > 0 && el("li", { class: "soft" }, `and ${more} more`))],
    ]),
  );
}

function steps(decision) {
  const rows = Object.entries(decision.steps);
  if (rows.length === 0) return null;
  return el("details", {}, el("summary", {}, "Durations of the checks"),
    wideTable("Milliseconds of each check that started", ["Check", "Milliseconds"], rows.map(([name, ms]) => [name, String(ms)])));
}
