// Show what needs a decision: issuers that documents name, and what the trust feed offers.
import { badge, el, moment, notice, shown } from "./dom.js";
import { brief, code, counted, facts, when } from "./common.js";
import { shortName } from "./names.js";

const OPEN = new Set(["unresolved", "approvable", "admitted"]);
const REVIEWS = {
  unresolved: ["warn", "No certificate of it chains to an anchor, so there is nothing to approve yet."],
  approvable: ["warn", "Its certificate chains to an anchor. The service refuses its documents until an operator approves it."],
  admitted: ["warn", "The service accepts it because it chains to an anchor. No operator has decided yet."],
  pinned: ["good", "A manifest, the feed or an operator pins it."],
  rejected: ["bad", "An operator rejected its CA."],
  denied: ["bad", "Its key or serial number is denied."],
  retired: ["off", "A manifest retired its CA."],
};

export function issuersSection(issuers, confirm) {
  const open = issuers.filter((issuer) => OPEN.has(issuer.reviewStatus));
  const decided = issuers.filter((issuer) => !OPEN.has(issuer.reviewStatus));
  return el(
    "section", { "aria-labelledby": "issuers-title" },
    el("h2", { id: "issuers-title" }, "Discovered issuers"),
    open.length === 0
      ? el("p", { class: "soft" }, "No issuer waits for a decision.")
      : open.map((issuer) => issuerPanel(issuer, confirm)),
    decided.length > 0 && el("details", {}, el("summary", {}, `Decided: ${counted(decided.length, "issuer")}`),
      decided.map((issuer) => issuerPanel(issuer, confirm))),
  );
}

function issuerPanel(issuer, confirm) {
  const [state, meaning] = REVIEWS[issuer.reviewStatus] ?? ["off", ""];
  return el(
    "article", { class: "panel issuer" },
    el("h3", {}, badge("warn", "not verified"), ": ", brief(shortName(issuer.issuer), 120)),
    el("p", {}, badge(state, issuer.reviewStatus), ". ", meaning),
    el("h4", {}, badge("warn", "not verified"), ": what the documents say"),
    facts([
      ["Cloud", issuer.cloud],
      ["Issuer", issuer.issuer],
      ["Key identifier", issuer.authorityKeyIdentifier && code(issuer.authorityKeyIdentifier)],
      ["Addresses of its certificate", issuer.issuerUrls.length > 0 && el("ul", { class: "plain" }, issuer.issuerUrls.map((url) => el("li", {}, shown(url))))],
      ["Documents", counted(issuer.documents, "document")],
      ["First and last seen", [moment(issuer.firstSeen), " to ", moment(issuer.lastSeen)]],
      ["SHA-256 of the latest signer", code(issuer.sampleSigner)],
    ]),
    issuer.authorities.length > 0
      ? [
        el("h4", {}, badge("good", "verified"), ": certificates with a chain to an anchor of the cloud"),
        issuer.authorities.map((authority, index) => authorityPanel(authority, issuer, index, confirm)),
        el("p", { class: "soft" }, "Before you approve, compare the SHA-1 with Azure's page of certificate authorities."),
      ]
      : el("p", {}, "Get its certificate from Azure's page of certificate authorities, not from a document. Then run ",
        el("code", {}, `imds-verifier trust add FILE --cloud ${issuer.cloud}`), "."),
  );
}

function authorityPanel(authority, issuer, index, confirm) {
  // A function, because each place needs nodes of its own.
  const named = () => [
    ["Authority", authority.subject],
    ["SHA-256", code(authority.sha256)],
    ["SHA-1, to compare", code(authority.sha1)],
    ["Valid until", moment(authority.notAfter)],
  ];
  const path = `/v1/trust/discovered/${authority.sha256}`;
  const name = shortName(authority.subject);
  const canApprove = authority.reviewStatus !== "pinned" && authority.reviewStatus !== "denied";
  return el(
    "div", { class: "authority" },
    facts([["Status", badge(...statusBadge(authority.reviewStatus))], ...named()]),
    el(
      "div", { class: "row" },
      canApprove && el("button", {
        type: "button",
        class: "main",
        onclick: () => confirm({
          title: "Approve this authority?",
          effect: `The service pins it for each cloud in which it was seen${index < issuer.authorities.length - 1 ? ", with the authorities above it" : ""}. Documents of its signers are then accepted.`,
          facts: () => [...named(), ["Seen in", issuer.cloud]],
          verb: "Approve",
          path: `${path}/approve`,
          done: `Approved: ${name}, SHA-256 ${authority.sha256}.`,
        }),
      }, "Approve…"),
      authority.reviewStatus !== "rejected" && el("button", {
        type: "button",
        class: "danger",
        onclick: () => confirm({
          title: "Reject this authority?",
          effect: "The service never admits a certificate of this CA, also not a renewed one. Existing pins stay.",
          facts: () => [...named(), ["Seen in", issuer.cloud]],
          verb: "Reject",
          isRejection: true,
          path: `${path}/reject`,
          done: `Rejected: ${name}, SHA-256 ${authority.sha256}.`,
        }),
      }, "Reject…"),
    ),
  );
}

function statusBadge(status) {
  return [REVIEWS[status]?.[0] ?? "off", status];
}

export function feedSection(feed, confirm) {
  const isUsed = feed.source || feed.inForce || feed.offer || feed.rejected || feed.unreadable;
  return el(
    "section", { "aria-labelledby": "feed-title" },
    el("h2", { id: "feed-title" }, "Trust feed"),
    isUsed ? feedContent(feed, confirm) : el("p", { class: "soft" }, "The service follows no trust feed."),
  );
}

function feedContent(feed, confirm) {
  return [
    feed.problem && notice("warn", "The last look at the feed failed, or its bundle was refused.", el("p", {}, shown(feed.problem))),
    feed.unreadable && notice("bad", "This release does not use the bundle that is to be in force.", el("p", {}, shown(feed.unreadable))),
    facts([
      ["Source", feed.source || "(none in the settings)"],
      ["Mode", feed.mode],
      ["Last successful look", when(feed.checkedAt) ?? "never"],
      ["In force", feed.inForce
        ? [`version ${feed.inForce.version}, published `, moment(feed.inForce.publishedAt), ", expires ", moment(feed.inForce.expiresAt)]
        : "no version"],
      ["Parts without effect", texts(feed.inForce?.ignored ?? [])],
    ]),
    feed.offer && offerPanel(feed.offer, confirm),
    feed.rejected && rejectedPanel(feed.rejected, confirm),
  ].filter(Boolean);
}

function texts(lines) {
  return lines.length > 0 && el("ul", { class: "plain" }, lines.map((line) => el("li", {}, shown(line))));
}

function offerPanel(offer, confirm) {
  const { version } = offer;
  const named = () => [
    ["Version", String(version)],
    ["Published, expires", [moment(offer.publishedAt), ", ", moment(offer.expiresAt)]],
    ["Changes", offer.changes.length > 0 ? el("ul", { class: "plain changes" }, offer.changes.map(change)) : "none"],
  ];
  const path = `/v1/trust/feed/${version}`;
  return el(
    "article", { class: "panel" },
    el("h3", {}, badge("warn", "waits for approval"), `: version ${version}`),
    facts([...named(), ["Why the mode apply waits", texts(offer.reasons)], ["Parts without effect", texts(offer.ignored)]]),
    el(
      "div", { class: "row" },
      el("button", {
        type: "button",
        class: "main",
        onclick: () => confirm({
          title: `Approve version ${version} of the trust feed?`,
          effect: "The service puts it in force, with each change below.",
          facts: named, verb: "Approve", path: `${path}/approve`, done: `Approved: version ${version} of the trust feed is in force.`,
        }),
      }, "Approve…"),
      el("button", {
        type: "button",
        class: "danger",
        onclick: () => confirm({
          title: `Reject version ${version} of the trust feed?`,
          effect: "The service does not offer this version again, and never applies it. A later version is offered.",
          facts: named, verb: "Reject", isRejection: true, path: `${path}/reject`, done: `Rejected: version ${version} of the trust feed.`,
        }),
      }, "Reject…"),
    ),
  );
}

function change(one) {
  const times = [one.activateAt && [" from ", moment(one.activateAt)], one.retireAt && [" until ", moment(one.retireAt)]];
  return el("li", {}, `${one.effect} `, shown(one.subject), ` (${one.clouds.join(", ")})`, times, el("br"), "SHA-256 ", code(one.sha256));
}

function rejectedPanel(rejected, confirm) {
  const { version } = rejected;
  return el(
    "article", { class: "panel" },
    el("h3", {}, badge("bad", "rejected"), `: version ${version}`),
    el("p", {}, shown(rejected.by), " rejected what the feed publishes now, at ", moment(rejected.at), ". A later version will be offered."),
    el("div", { class: "row" }, el("button", {
      type: "button",
      onclick: () => confirm({
        title: `Approve the rejected version ${version} of the trust feed?`,
        effect: "The service puts it in force, and the rejection ends.",
        facts: () => [["Version", String(version)], ["Rejected by", rejected.by]],
        verb: "Approve", path: `/v1/trust/feed/${version}/approve`, done: `Approved: version ${version} of the trust feed is in force.`,
      }),
    }, "Approve it all the same…")),
  );
}
