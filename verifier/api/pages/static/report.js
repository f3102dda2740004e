// Show an inspection: verdict, checks, claims, names, content and raw answer.
import { chainSection } from "./chain.js";
import { badge, copyButton, el, jsonText, moment, notice, shown, visible } from "./dom.js";
import { mark, none, rows, section } from "./parts.js";
import { structureSection } from "./structure.js";
import { timelineSection } from "./timeline.js";

export function verdict(answer) {
  const isVerified = answer.verdict === "verified";
  const facts = [
    ["Evaluated as of", moment(answer.evaluatedAt)],
    ["Policies", list(answer.policies)],
    answer.sha256 && ["SHA-256 of the DER", shown(answer.sha256, { className: "code" })],
  ].filter(Boolean);
  return notice(
    isVerified ? "good" : "bad",
    isVerified ? "Verified" : "Refused",
    isVerified
      ? el("p", { class: "sentence" }, `Azure signed this document, and it satisfies each policy. The nonce was not redeemed.`)
      : [
          el("p", { class: "sentence" }, answer.authentic === null && [mark(), " "], shown(answer.detail)),
          answer.authentic === null && el("p", { class: "soft" }, "The sentence can quote the document, which anyone can forge."),
          el("p", {}, "What it means, and what to do: ", el("a", { href: `/problems/${answer.code}` }, answer.code)),
        ],
    answer.denial && denial(answer.denial),
    el("dl", { class: "facts" }, facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
  );
}

function denial(found) {
  const more = found.allowedCount - found.allowed.length;
  return el(
    "p",
    {},
    "Policy ", shown(found.policy), ", rule ", shown(found.rule), ": found ",
    found.found === null ? "no value" : shown(found.found),
    found.allowed.length > 0 && [", allowed ", list(found.allowed), more > 0 && ` and ${more} more`],
    ".",
  );
}

function list(values) {
  return values.flatMap((value, index) => [index > 0 && ", ", shown(value)]);
}

/** Fill the list of checks from the answer, or empty it. */
export function showChecks(answer) {
  for (const item of document.querySelectorAll(".check")) {
    const found = answer?.checks.find((one) => `check-${one.name}` === item.id);
    const detail = item.querySelector(".check-detail");
    const [state, word] = outcome(found);
    const sentence = found?.outcome === "fail" ? (found.detail ?? answer.detail) : found?.detail;
    item.dataset.outcome = word;
    item.querySelector(".check-state").replaceChildren(...(found ? [badge(state, word)] : []));
    detail.hidden = !sentence;
    const isUnverified = found?.outcome === "fail" && answer.authentic === null;
    detail.replaceChildren(...(isUnverified ? [mark(), " "] : []), ...(sentence ? [shown(asSentence(sentence))] : []));
  }
}

/** Remarks on checks are parts of sentences. */
function asSentence(words) {
  return `${words[0].toUpperCase()}${words.slice(1)}${words.endsWith(".") ? "" : "."}`;
}

function outcome(found) {
  switch (found?.outcome) {
    case "pass": return ["good", "Passed"];
    case "fail": return ["bad", "Failed"];
    case "skipped": return found.detail ? ["off", "Skipped"] : ["off", "Not reached"];
    default: return ["off", ""];
  }
}

/** Return the sections below the checks. */
export function report(answer, domains) {
  const { authentic, unverified } = answer;
  const found = authentic ?? unverified;
  const isUnverified = authentic === null;
  return [
    found && isUnverified && notice(
      "warn",
      "Unverified",
      el("p", {}, "The document did not pass the chain check. Anyone can forge each value below that has this mark: ", mark()),
    ),
    found && claimsSection(found, isUnverified),
    found && timelineSection(answer),
    found && chainSection(found, isUnverified, answer.evaluatedAt),
    found && namesSection(found, isUnverified, domains),
    found && contentSection(found, isUnverified),
    answer.structure && structureSection(answer.structure, isUnverified),
    rawSection(answer, isUnverified),
  ].filter(Boolean);
}

function claimsSection(found, isUnverified) {
  const cloud = ["cloud", found.cloud === null ? none("The signer's names claim no cloud") : shown(found.cloud)];
  if (!found.claims) {
    return section("Claims", isUnverified,
      el("p", {}, "The content is not an object with claims."), rows("Claims", [cloud], isUnverified));
  }
  const { plan, createdOn, expiresOn, ...texts } = found.claims;
  const entries = [
    cloud,
    ...Object.entries(texts).map(([name, value]) => [name, claim(value)]),
    ...Object.entries(plan ?? {}).map(([name, value]) => [`plan.${name}`, claim(value)]),
    plan === null && ["plan", none("not in the document")],
    ["createdOn", createdOn ? moment(createdOn) : none("not in the document")],
    ["expiresOn", expiresOn ? moment(expiresOn) : none("not in the document")],
  ].filter(Boolean);
  return section("Claims", isUnverified, rows("Claims", entries, isUnverified));
}

function claim(value) {
  if (value === null || value === undefined) return none("not in the document");
  return value === "" ? none("empty") : shown(typeof value === "string" ? value : JSON.stringify(value));
}

function namesSection(found, isUnverified, domains) {
  const kinds = { commonName: "Common name", dNSName: "Alternative name" };
  const rowsOf = found.names.map((name) => el(
    "tr",
    {},
    el("th", { scope: "row" }, el("span", { class: "name" }, kinds[name.kind] ?? name.kind), isUnverified && [" ", mark()]),
    el("td", {}, shown(name.value)),
    el("td", {}, name.cloud
      ? [badge(isUnverified ? "off" : "good", "in the domain"), " ", shown(domains[name.cloud] ?? "", { className: "code" }), ` of ${name.cloud}`]
      : badge("bad", "in no domain of a cloud")),
  ));
  return section("Names of the signer", isUnverified,
    found.names.length === 0 ? el("p", {}, "The signer has no names.") : el(
      "div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Names of the signer, table" },
      el("table", { class: "names" },
        el("caption", { class: "visually-hidden" }, "Names of the signer, compared with the domains of the clouds"),
        el("thead", {}, el("tr", {}, ["Kind", "Name", "Domain"].map((one) => el("th", { scope: "col" }, one)))),
        el("tbody", {}, rowsOf)),
    ));
}

function contentSection(found, isUnverified) {
  const content = isUnverified ? shown(found.content, { limit: 2000 }) : lines(jsonText(found.document));
  return section("Signed content", isUnverified,
    el("p", { class: "soft" }, isUnverified ? "The text that the document carries." : "The object that Azure signed."),
    el("pre", { class: "content", tabindex: "0", role: "group", "aria-label": isUnverified ? "Content, unverified" : "Content" },
      isUnverified && found.content === "" ? none("empty") : content));
}

function rawSection(answer, isUnverified) {
  const text = jsonText(answer);
  const pre = el("pre", { tabindex: "0", role: "group", "aria-label": isUnverified ? "Answer, unverified values" : "Answer" });
  return section("Answer as JSON", isUnverified,
    el("div", { class: "row" }, copyButton("Copy the answer", () => text)),
    el("details", {
      ontoggle: (event) => {
        if (event.target.open && pre.childElementCount === 0) pre.replaceChildren(...lines(text));
      },
    }, el("summary", {}, "Show the answer"), pre));
}

/** Show the lines of a text, each isolated, so that none reorders another. */
function lines(text) {
  return text.split("\n").map((line) => el("bdi", { class: "line", dir: "ltr" }, visible(line), "\n"));
}
