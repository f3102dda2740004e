// Draw the certificates of one cloud as bars over time, with the present, the horizon, and every field as text.
import { badge, cut, el, escaped, moment, momentText, span } from "./dom.js";
import { drawn, picture, scale, svg, ticks } from "./svg.js";
import { brief, builtWhenOpened, code, counted, facts, when } from "./common.js";
import { shortName } from "./names.js";

const YEAR = 31557600e3;
const DAY = 864e5;
/** The longest times before and after the present that a picture shows. Bars that reach further end in an arrow. */
const BEFORE = 2 * YEAR;
const AFTER = 10 * YEAR;
const ROW = 38;
const TOP = 36;
const BOTTOM = 26;
const BAR = 13;
const BADGES = { staged: "off", active: "good", expiring: "warn", retired: "off", expired: "off", denied: "bad" };

/** What a certificate is now: a denial counts more than its times. */
function stateOf(entry) {
  return entry.denied ? "denied" : entry.state;
}

function word(entry) {
  const state = stateOf(entry);
  const isUsable = state === "active" || state === "expiring";
  return isUsable && !entry.chainable ? `${state}, without a chain` : state;
}

function times(entry) {
  const starts = [entry.notBefore, entry.activateAt].filter(Boolean).map(Date.parse);
  const ends = [entry.notAfter, entry.retireAt].filter(Boolean).map(Date.parse);
  return { from: Math.max(...starts), until: Math.min(...ends) };
}

function iso(time) {
  return new Date(time).toISOString();
}

/** A part of the page for one cloud. A cloud that takes no live documents is closed at first. */
export function cloudSection(cloud, evaluatedAt) {
  const entries = [...cloud.anchors.map((entry) => ({ ...entry, role: "anchor" })), ...cloud.pins.map((entry) => ({ ...entry, role: "pin" }))];
  const now = Date.parse(evaluatedAt);
  const isCounted = cloud.served && !cloud.closed;
  const notes = [
    !cloud.served && "The settings do not serve this cloud: only archived documents of it are appraised.",
    cloud.closed && "The manifest retired all its anchors: only archived documents are appraised.",
  ].filter(Boolean);
  return el(
    "details", { class: "cloud panel", open: isCounted },
    el("summary", {}, el("strong", {}, cloud.name), ` (${cloud.domain}): ${counted(entries.length, "certificate")}`),
    notes.map((text) => el("p", {}, text)),
    el("p", {}, "Horizon: ", cloud.horizon === null
      ? badge(isCounted ? "bad" : "off", "no usable chain")
      : [moment(cloud.horizon), `, in ${span(Date.parse(cloud.horizon) - now)}. Until then, usable chains exist without a gap.`]),
    entries.length > 0 && figure(cloud, entries, now),
    entries.length > 0 && builtWhenOpened("fields-of", "Every certificate with all its fields",
      () => el("ul", { class: "entries" }, entries.map((entry) => el("li", {}, fields(entry))))),
  );
}

function figure(cloud, entries, now) {
  const sorted = entries.toSorted((a, b) => (a.role === b.role ? times(a).until - times(b).until : a.role === "pin" ? -1 : 1));
  const recent = sorted.filter((entry) => times(entry).until >= now - BEFORE);
  const older = sorted.length - recent.length;
  const legend = el("ul", { class: "legend" });
  const holder = el("div", {});
  const fill = (isAll) => {
    const some = isAll ? sorted : recent;
    legend.replaceChildren(...[...new Set(some.map(stateOf))].map((state) => el("li", {}, swatch(state), ` ${state}`)));
    holder.replaceChildren(drawn(el("div", { class: "canvas" }), (width) => draw(cloud, some, { now, width, isAll })));
  };
  fill(false);
  return el(
    "figure", { class: "figure" },
    el("figcaption", {}, "One bar for each certificate, from when to when the service may use it. A thin line shows its own validity."),
    older > 0 && el("label", { class: "choice" },
      el("input", { type: "checkbox", onchange: (event) => fill(event.target.checked) }),
      ` Also the ${counted(older, "certificate")} whose use ended before ${iso(now - BEFORE).slice(0, 10)}`),
    legend,
    holder,
  );
}

/** Return the shown time: the useful times of the certificates, up to AFTER, and from BEFORE unless all are wanted. */
function extent(entries, horizon, now, isAll) {
  const all = entries.flatMap((entry) => Object.values(times(entry)));
  if (horizon !== null) all.push(Date.parse(horizon));
  const first = isAll ? Math.min(...entries.filter((entry) => entry.role === "pin").map((entry) => times(entry).from), now) : now - BEFORE;
  const from = Math.max(first, Math.min(...all, now - 30 * DAY));
  const to = Math.min(now + AFTER, Math.max(...all, now + 30 * DAY));
  // Space for the labels of lines at the edge.
  return { from: from - (to - from) * 0.02, to: to + (to - from) * 0.04 };
}

function draw(cloud, entries, { now, width, isAll }) {
  const { from, to } = extent(entries, cloud.horizon, now, isAll);
  const left = 8;
  const right = width - 8;
  const x = scale(from, to, left, right);
  const height = TOP + entries.length * ROW + BOTTOM;
  const { defs, fill } = patterns();
  const marks = ticks(from, to, Math.max(2, Math.floor(width / 90))).filter(({ time }) => x(time) > left + 20 && x(time) < right - 20);
  const grid = marks.map(({ time, label }) => [
    svg("line", { class: "grid", x1: x(time), x2: x(time), y1: TOP - 4, y2: height - BOTTOM }),
    svg("text", { class: "soft", x: x(time), y: height - 8, "text-anchor": "middle" }, label),
  ]);
  const rows = entries.map((entry, index) => row(entry, TOP + index * ROW, { x, from, to, left, right, fill }));
  const horizon = cloud.horizon === null ? [] : line("horizon", `horizon ${cloud.horizon.slice(0, 10)}`, Date.parse(cloud.horizon), 12, { x, to, right, height });
  const today = line("now", `now ${iso(now).slice(0, 10)}`, now, 26, { x, to, right, height });
  const names = entries.map((entry) => `${shortName(entry.subject)}: ${word(entry)} until ${iso(times(entry).until).slice(0, 10)}`);
  return picture(
    { title: `Certificates of ${cloud.name} over time`, description: `${names.join("; ")}. The list below has all fields.`, width, height },
    defs, grid, horizon, today, rows,
  );
}

/** A line through all rows with its label. A horizon beyond the picture is only a label with an arrow. */
function line(name, text, time, y, { x, to, right, height }) {
  const isBeyond = time > to;
  const place = isBeyond ? right : x(time);
  const isRight = place > right / 2;
  return [
    !isBeyond && svg("line", { class: name, x1: place, x2: place, y1: y - 8, y2: height - BOTTOM }),
    svg("text", { class: `label-${name}`, x: place + (isRight ? -5 : 5), y, "text-anchor": isRight ? "end" : "start" }, isBeyond ? `${text} →` : text),
  ].filter(Boolean);
}

function row(entry, top, { x, from, to, left, right, fill }) {
  const { from: starts, until } = times(entry);
  const state = stateOf(entry);
  const y = top + 18;
  const clip = (time) => Math.min(right, Math.max(left, x(Math.min(to, Math.max(from, time)))));
  const label = `${entry.role}, ${word(entry)}: ${shortName(entry.subject)}`;
  const isPast = until < from;
  const isAhead = starts > to;
  const end = isPast ? `← until ${iso(until).slice(0, 10)}` : isAhead ? `from ${iso(starts).slice(0, 10)} →` : until > to ? `until ${iso(until).slice(0, 10)} →` : "";
  const endWidth = end.length * 6.5 + 8;
  const bar = !isPast && !isAhead && [
    svg("line", { class: "axis thin", x1: clip(Date.parse(entry.notBefore)), x2: clip(Date.parse(entry.notAfter)), y1: y + BAR / 2, y2: y + BAR / 2 }),
    svg("rect", { class: `bar-${state}`, fill: fill(state), x: clip(starts), y, width: Math.max(3, clip(until) - clip(starts)), height: BAR, rx: 2 }),
    starts < from && svg("path", { class: "arrow", d: `M${left - 7},${y + BAR / 2} l7,-6 v12 z` }),
    until > to && svg("path", { class: "arrow", d: `M${right + 7},${y + BAR / 2} l-7,-6 v12 z` }),
  ];
  return svg(
    "g", {},
    svg("title", {}, escaped(`${entry.subject}\n${word(entry)}, usable ${momentText(iso(starts))} to ${momentText(iso(until))}`)),
    svg("rect", { class: "hit", x: left, y: top, width: right - left, height: ROW - 2 }),
    svg("text", { class: "row-label", x: left, y: top + 14 }, middleCut(label, right - left - (end ? endWidth : 0))),
    end && svg("text", { class: "soft row-end", x: isPast ? left : right, y: isPast ? y + 12 : top + 14, "text-anchor": isPast ? "start" : "end" }, end),
    bar,
  );
}

/** Cut the middle of a text that is too wide: many names of CAs differ only at their end. */
function middleCut(text, width) {
  const whole = escaped(text);
  const most = Math.max(16, Math.floor(width / 6.7));
  return whole.length <= most ? whole : `${cut(whole, most - 11)}…${whole.slice(-10).replace(/^[\udc00-\udfff]/, "")}`;
}

/** All fields of one certificate. */
function fields(entry) {
  const state = stateOf(entry);
  return builtWhenOpened(
    "", [badge(BADGES[state] ?? "off", word(entry)), ` ${entry.role} `, brief(entry.subject, 120)],
    () => facts([
      ["State", entry.denied ? `denied (by its times: ${entry.state})` : entry.state],
      ["A chain may contain it now", entry.chainable ? "yes" : "no"],
      ["Subject", entry.subject],
      ["Issuer", entry.issuer],
      ["Valid", [moment(entry.notBefore), " to ", moment(entry.notAfter)]],
      ["Activated at", when(entry.activateAt)],
      ["Retired at", when(entry.retireAt)],
      ["SHA-256", code(entry.sha256)],
      ["SHA-1, to compare with Azure's page", code(entry.sha1)],
      ["SHA-256 of its key", code(entry.spkiSha256)],
      ["Serial number", code(entry.serialNumber)],
      ["Origin", entry.origin],
      ["Source", entry.source],
      ["Note", entry.note],
    ]),
  );
}

const STRIPES = "M-1,1 l2,-2 M0,8 l8,-8 M7,9 l2,-2";
let sets = 0;

/** Return the patterns of one picture, and the fill of each state. */
function patterns() {
  const set = `states-${(sets += 1)}`;
  const pattern = (name, ...shapes) => svg(
    "pattern", { id: `${set}-${name}`, width: 8, height: 8, patternUnits: "userSpaceOnUse" },
    svg("rect", { class: `back-${name}`, width: 8, height: 8 }), shapes,
  );
  const defs = svg(
    "defs", {},
    pattern("staged", svg("circle", { class: "ink-staged", cx: 4, cy: 4, r: 1.3 })),
    pattern("active"),
    pattern("expiring", svg("path", { class: "ink-expiring", d: STRIPES })),
    pattern("retired", svg("path", { class: "ink-retired", d: "M0,4 h8" })),
    pattern("expired"),
    pattern("denied", svg("path", { class: "ink-denied", d: `${STRIPES} M0,0 l8,8` })),
  );
  return { defs, fill: (name) => `url(#${set}-${name})` };
}

function swatch(state) {
  const { defs, fill } = patterns();
  return svg("svg", { class: "swatch", width: 26, height: 14, "aria-hidden": "true" }, defs,
    svg("rect", { class: `bar-${state}`, fill: fill(state), x: 1, y: 1, width: 24, height: 12, rx: 2 }));
}
