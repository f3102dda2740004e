// Draw the chain from the signer to the trust anchor, and list its certificates in words.
import { cut, el, escaped, moment, momentText, shown } from "./dom.js";
import { shortName } from "./names.js";
import { mark, none, rows, section } from "./parts.js";
import { drawn, fitted, picture, svg } from "./svg.js";

const BOX = 92;
const GAP = 40;
const MOST_WIDTH = 640;

export function chainSection(found, isUnverified, at) {
  const links = isUnverified ? claimed(found) : accepted(found);
  return section(
    "Chain",
    isUnverified,
    isUnverified && el("p", {}, "No accepted chain leads from this signer to a trust anchor. The picture shows what the certificate claims."),
    drawn(el("div", { class: "drawing" }), (width) => draw(links, isUnverified, at, Math.min(width, MOST_WIDTH))),
    links.filter((link) => link.sha256).map((link) => certificate(link, isUnverified)),
    isUnverified && found.certificates?.length > 0 && [
      el("h3", {}, "Other certificates in the document ", mark()),
      found.certificates.map((one) => certificate({ ...one, role: "Certificate" }, isUnverified)),
    ],
  );
}

function accepted({ signer, chain }) {
  const last = chain.length - 1;
  return [
    { ...signer, role: "Signer" },
    ...chain.map((link, index) => ({ ...link, role: index === last ? "Trust anchor" : "Issuer" })),
  ];
}

function claimed({ signer }) {
  return [{ ...signer, role: "Signer" }, { subject: signer.issuer, role: "Issuer that the signer names", note: "no part of an accepted chain" }];
}

function draw(links, isUnverified, at, width) {
  const height = links.length * (BOX + GAP) - GAP + 2;
  const words = links.map((link) => `${link.role}: ${shortName(link.subject)}${state(link, at) ? `, ${state(link, at)}` : ""}`);
  return picture(
    {
      title: isUnverified ? "Chain (unverified): the signer and the issuer that it names" : "Chain from the signer to the trust anchor",
      description: words.join("; issued by "),
      width,
      height,
    },
    links.map((link, index) => [
      index > 0 && arrow(width / 2, index * (BOX + GAP) - GAP + 1, isUnverified),
      box(link, index * (BOX + GAP) + 1, isUnverified, at, width),
    ]),
  );
}

function arrow(x, y, isUnverified) {
  const end = y + GAP;
  return [
    svg("path", { class: isUnverified ? "axis dashed" : "axis", d: `M${x} ${y}V${end - 7}` }),
    svg("path", { class: "off", d: `M${x - 5} ${end - 8}H${x + 5}L${x} ${end - 1}Z` }),
    svg("text", { class: "soft", x: x + 12, y: y + GAP / 2 + 3 }, isUnverified ? "names as its issuer" : "issued by"),
  ];
}

/** Draw one certificate. The inner picture cuts what is too long. */
function box(link, y, isUnverified, at, width) {
  const inner = width - 34;
  const isCurrent = !state(link, at).startsWith("not valid");
  return [
    svg("rect", { class: isUnverified ? "box dashed" : "box", x: 1, y, width: width - 2, height: BOX - 2, rx: 8 }),
    svg("rect", { class: isUnverified ? "off" : isCurrent ? "good" : "bad", x: 1, y: y + 10, width: 5, height: BOX - 22 }),
    svg(
      "svg",
      { x: 18, y, width: inner, height: BOX - 2 },
      svg("text", { class: "soft", x: 0, y: 21 }, isUnverified ? `${link.role} (unverified)` : link.role),
      svg("text", { class: "strong", x: 0, y: 43 }, fitted(shortName(link.subject), inner, 7.2)),
      link.notBefore && svg("text", { class: "soft", x: 0, y: 62 }, `${day(link.notBefore)} to ${day(link.notAfter)}`),
      svg("text", { x: 0, y: 80 }, state(link, at)),
    ),
  ];
}

function state(link, at) {
  const parts = [];
  if (link.notAfter) {
    const [from, to, now] = [link.notBefore, link.notAfter, at].map(Date.parse);
    parts.push(now < from ? "not valid yet" : now > to ? "not valid any more" : "valid as of the inspection");
  }
  if (link.note) parts.push(link.note);
  if (link.pin) parts.push(`pin ${escaped(link.pin)}`);
  return parts.join(", ");
}

function day(time) {
  return momentText(time).slice(0, 10);
}

function certificate(link, isUnverified) {
  const entries = [
    ["Subject", link.subject ? shown(link.subject) : none("empty")],
    link.issuer !== undefined && ["Issuer", link.issuer ? shown(link.issuer) : none("empty")],
    link.serialNumber && ["Serial number", shown(link.serialNumber, { className: "code" })],
    ["SHA-256", shown(link.sha256, { className: "code" })],
    ["Valid from", moment(link.notBefore)],
    ["Valid until", moment(link.notAfter)],
    link.pin && ["Pin", shown(link.pin)],
  ].filter(Boolean);
  return el(
    "details",
    { class: "certificate" },
    el("summary", {}, `${link.role}: `, shown(cut(shortName(link.subject), 80)), isUnverified && [" ", mark()]),
    rows(link.role, entries, isUnverified),
  );
}
