// Show what operators rejected and denied, documents with another form, oddities, and the latest changes.
import { el, moment, shown } from "./dom.js";
import { code, counted, facts } from "./common.js";

export function recordSections(survey) {
  return [
    section("rejected", "Rejected authorities", "No certificate of these is admitted.", survey.rejected, (one) => facts([
      ["Authority", one.subject], ["SHA-256 of its key", code(one.spkiSha256)], ["Known certificates", certificates(one.certificates)],
    ])),
    section("denied", "Denied keys and serial numbers", "No chain may contain them.", survey.denied, (one) => facts([
      [one.kind === "spki" ? "SHA-256 of the key" : "Serial number", code(one.value)], ["Known certificates", certificates(one.certificates)],
    ])),
    section("nonconforming", "Genuine documents with a refused form", "Azure may have changed its form. Report it.", survey.nonconforming, (one) => facts([
      ["Why they are refused", one.detail],
      ["Issuer", one.issuer],
      ["SHA-256 of its pin", code(one.pinSha256)],
      ["Clouds", one.clouds.join(", ")],
      ["Documents", [counted(one.documents, "document"), ", ", moment(one.firstSeen), " to ", moment(one.lastSeen)]],
      ["SHA-256 of the latest document", code(one.sampleDocument)],
      ["SHA-256 of its signer", code(one.sampleSigner)],
    ])),
    section("oddities", "Formal oddities of trusted certificates", "They refuse no document.", survey.oddities, (one) => shown(one)),
    section("changes", "Latest changes", "At most 100, the latest first.", survey.audit, (one) => [
      el("p", {}, moment(one.at), " ", shown(one.by), ": ", el("strong", {}, one.what), " ", shown(one.subject, { className: "code" })),
      facts([["Before", one.before], ["After", one.after]]),
    ]),
  ];
}

function section(name, title, meaning, entries, content) {
  return el(
    "section", { "aria-labelledby": `${name}-title` },
    el("h2", { id: `${name}-title` }, title),
    entries.length === 0
      ? el("p", { class: "soft" }, "None.")
      : [el("p", { class: "soft" }, meaning), el("ul", { class: "entries" }, entries.map((one) => el("li", {}, content(one))))],
  );
}

function certificates(known) {
  if (known.length === 0) return el("span", { class: "soft" }, "none");
  return el("ul", { class: "plain" }, known.map((one) => el("li", {}, shown(one.subject), el("br"), code(one.sha256))));
}
