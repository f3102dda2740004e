// Draw the times of an inspection: created, as of, expires, and the lifetime of the signer's certificate.
import { el, momentText, moment, span } from "./dom.js";
import { mark, section } from "./parts.js";
import { drawn, picture, scale, svg, ticks } from "./svg.js";

const EDGE = 8;
const BAR = { top: 48, height: 16 };
const AXIS = 78;
const HEIGHT = 100;
const NARROW = 130; // a shorter bar has room for one label only

export function timelineSection(answer) {
  const isUnverified = answer.authentic === null;
  const { claims, signer } = answer.authentic ?? answer.unverified;
  const at = answer.evaluatedAt;
  const bars = [];
  if (claims?.createdOn && claims?.expiresOn) {
    bars.push({ title: "Document", words: ["created", "expires"], from: claims.createdOn, to: claims.expiresOn });
  }
  bars.push({ title: "Signer's certificate", words: ["valid from", "valid until"], from: signer.notBefore, to: signer.notAfter });
  const times = [
    ["Document created", claims?.createdOn], ["Document expires", claims?.expiresOn],
    ["Signer's certificate valid from", signer.notBefore], ["Signer's certificate valid until", signer.notAfter],
  ].filter(([, time]) => time);
  return section(
    "Times",
    isUnverified,
    bars.map((bar) => el(
      "figure",
      {},
      el("figcaption", {}, bar.title, isUnverified && [" ", mark()], ": ", standing(bar, at)),
      drawn(el("div", { class: "drawing" }), (width) => draw(bar, at, width, isUnverified)),
    )),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Times, table" }, el(
      "table",
      { class: "times" },
      el("caption", {}, "As of ", moment(at)),
      el("tbody", {}, times.map(([name, time]) => el(
        "tr",
        {},
        el("th", { scope: "row" }, el("span", { class: "name" }, name), isUnverified && [" ", mark()]),
        el("td", {}, moment(time)),
        el("td", {}, distance(time, at)),
      ))),
    )),
  );
}

function standing({ from, to }, at) {
  const [start, end, now] = [from, to, at].map(Date.parse);
  if (end < start) return "ends before it starts";
  if (now < start) return `starts ${span(start - now)} after the time of the inspection`;
  return now > end ? `ended ${span(now - end)} before the time of the inspection` : `${span(end - now)} left`;
}

function distance(time, at) {
  const difference = Date.parse(time) - Date.parse(at);
  if (difference === 0) return "the same moment";
  return `${span(difference)} ${difference < 0 ? "earlier" : "later"}`;
}

function draw(bar, at, width, isUnverified) {
  const [from, to, now] = [bar.from, bar.to, at].map(Date.parse);
  const first = Math.min(from, to, now);
  const last = Math.max(from, to, now);
  const margin = Math.max(1000, (last - first) * 0.06);
  const x = scale(first - margin, last + margin, EDGE, width - EDGE);
  const [left, right] = [Math.min(x(from), x(to)), Math.max(x(from), x(to))];
  const isInside = from <= now && now <= to;
  const state = standing(bar, at);
  return picture(
    {
      title: `${bar.title}${isUnverified ? " (unverified)" : ""}: ${state}`,
      description: `${bar.words[0]} ${momentText(bar.from)}, ${bar.words[1]} ${momentText(bar.to)}, as of ${momentText(at)}`,
      width,
      height: HEIGHT,
    },
    ticks(first - margin, last + margin, Math.max(2, Math.floor(width / 110))).map(({ time, label }) => [
      svg("path", { class: "grid", d: `M${x(time)} ${BAR.top - 6}V${AXIS}` }),
      text(x(time), AXIS + 15, label, width, "soft"),
    ]),
    svg("path", { class: "axis", d: `M${EDGE} ${AXIS}H${width - EDGE}` }),
    svg("rect", {
      class: isInside ? (isUnverified ? "off" : "good") : "warn", x: left, y: BAR.top, width: Math.max(3, right - left), height: BAR.height, rx: 3,
    }),
    labels(bar, left, right, width),
    svg("path", { class: "now", d: `M${x(now)} 20V${AXIS}` }),
    text(x(now), 14, "as of", width, "strong"),
  );
}

/** Label both ends of the bar, or its middle if it is short. */
function labels(bar, left, right, width) {
  const y = BAR.top - 6;
  if (right - left < NARROW) return text((left + right) / 2, y, bar.words.join(", "), width);
  return [text(left, y, bar.words[0], width, "", "start"), text(right, y, bar.words[1], width, "", "end")];
}

/** Place a text at x, moved so that it stays inside the picture. */
function text(x, y, words, width, name = "", anchor = "middle") {
  const half = words.length * 3.4;
  const place = anchor === "middle" ? Math.min(Math.max(x, half + 2), width - half - 2) : x;
  return svg("text", { class: name, x: place, y, "text-anchor": anchor }, words);
}
