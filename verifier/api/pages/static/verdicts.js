// Draw the verdicts of decisions over time: stacked bars, each verdict with a pattern, a word and a colour.
import { el, momentText } from "./dom.js";
import { drawn, picture, scale, svg, ticks } from "./svg.js";
import { counted, wideTable } from "./common.js";

/** The verdicts from the bottom of a bar to its top, each with the state of its badge. */
export const VERDICTS = { verified: "good", refused: "bad", unavailable: "warn" };
const NAMES = Object.keys(VERDICTS);
const MINUTE = 6e4;
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080].map((minutes) => minutes * MINUTE);
const MOST_BARS = 30;
const FEWEST_BARS = 12;
const HEIGHT = 180;
const EDGE = { left: 38, right: 12, top: 12, bottom: 26 };

/** Count the verdicts of the decisions in equal parts of their time. Returns `{ step, bars }`, the oldest bar first. */
export function count(decisions) {
  const times = decisions.map((decision) => Date.parse(decision.time));
  const oldest = times.reduce((a, b) => Math.min(a, b));
  const newest = times.reduce((a, b) => Math.max(a, b));
  const step = STEPS.find((one) => Math.floor(newest / one) - Math.floor(oldest / one) < MOST_BARS) ?? STEPS.at(-1);
  const first = Math.floor(oldest / step);
  const bars = Array.from({ length: Math.floor(newest / step) - first + 1 }, (_, index) => ({
    from: (first + index) * step, counts: Object.fromEntries(NAMES.map((name) => [name, 0])), total: 0,
  }));
  decisions.forEach((decision, index) => {
    const bar = bars[Math.floor(times[index] / step) - first];
    bar.counts[decision.verdict] = (bar.counts[decision.verdict] ?? 0) + 1;
    bar.total += 1;
  });
  return { step, bars };
}

/** A figure with the picture, its legend and the same numbers as a table. `which` says which decisions these are. */
export function verdictsFigure(decisions, which) {
  const { step, bars } = count(decisions);
  const sums = NAMES.map((name) => [name, decisions.filter((decision) => decision.verdict === name).length]);
  const each = `each bar is ${stepText(step)}`;
  const description = `${sums.map(([name, sum]) => `${sum} ${name}`).join(", ")}; ${each}. The table below has the numbers.`;
  const box = drawn(el("div", { class: "canvas" }), (width) => draw(bars, step, width, which, description));
  const rows = bars.filter((bar) => bar.total).map((bar) => [
    momentText(new Date(bar.from).toISOString()), ...NAMES.map((name) => String(bar.counts[name])),
  ]);
  return el(
    "figure", { class: "figure" },
    el("figcaption", {}, "Verdicts over time: ", which, ` (${each}).`),
    el("ul", { class: "legend" }, sums.map(([name, sum]) => el("li", {}, swatch(name), ` ${name} ${sum.toLocaleString("en")}`))),
    box,
    el("details", {}, el("summary", {}, "The numbers as a table"),
      wideTable("Decisions from each time on (UTC)", ["From", ...NAMES], rows)),
  );
}

function stepText(step) {
  const minutes = step / MINUTE;
  if (minutes < 60) return counted(minutes, "minute");
  return minutes < 1440 ? counted(minutes / 60, "hour") : counted(minutes / 1440, "day");
}

function draw(bars, step, width, which, description) {
  const to = bars.at(-1).from + step;
  // Few bars keep the width that many have, at the newest end.
  const from = Math.min(bars[0].from, to - FEWEST_BARS * step);
  const x = scale(from, to, EDGE.left, width - EDGE.right);
  const most = Math.max(...bars.map((bar) => bar.total));
  const top = niceAbove(most);
  const y = (number) => HEIGHT - EDGE.bottom - (number / top) * (HEIGHT - EDGE.bottom - EDGE.top);
  const { defs, fill } = patterns();
  const lines = [0, top / 2, top].filter(Number.isInteger).map((number) => [
    svg("line", { class: "grid", x1: EDGE.left, x2: width - EDGE.right, y1: y(number), y2: y(number) }),
    svg("text", { class: "soft", x: EDGE.left - 6, y: y(number) + 4, "text-anchor": "end" }, number.toLocaleString("en")),
  ]);
  const labels = ticks(from, to, Math.max(2, Math.floor(width / 110)))
    .filter(({ time }) => x(time) > EDGE.left + 12 && x(time) < width - EDGE.right - 24)
    .map(({ time, label }) => svg("text", { class: "soft", x: x(time), y: HEIGHT - 8, "text-anchor": "middle" }, label));
  const shapes = bars.flatMap((bar) => {
    let below = 0;
    const left = x(bar.from) + 1;
    return NAMES.filter((name) => bar.counts[name]).map((name) => {
      const number = bar.counts[name];
      const shape = svg("rect", {
        class: `edge-${name}`, fill: fill(name), x: left, width: Math.max(2, x(bar.from + step) - left - 1),
        y: y(below + number), height: y(below) - y(below + number),
      }, svg("title", {}, `${momentText(new Date(bar.from).toISOString())}: ${number} ${name}`));
      below += number;
      return shape;
    });
  });
  return picture({ title: `Verdicts over time: ${which}`, description, width, height: HEIGHT }, defs, lines, shapes, labels);
}

function niceAbove(number) {
  const size = 10 ** Math.floor(Math.log10(Math.max(1, number)));
  return [1, 2, 4, 6, 8, 10].map((one) => one * size).find((one) => one >= number && one >= 2) ?? 2;
}

let sets = 0;

/** Return the patterns of one picture, and the fill of each verdict: plain, stripes and dots. */
function patterns() {
  const set = `verdicts-${(sets += 1)}`;
  const pattern = (name, ...shapes) => svg(
    "pattern", { id: `${set}-${name}`, width: 6, height: 6, patternUnits: "userSpaceOnUse" },
    svg("rect", { class: `back-${name}`, width: 6, height: 6 }), shapes,
  );
  const defs = svg(
    "defs", {},
    pattern("verified"),
    pattern("refused", svg("path", { class: "ink-refused", d: "M-1,1 l2,-2 M0,6 l6,-6 M5,7 l2,-2" })),
    pattern("unavailable", svg("circle", { class: "ink-unavailable", cx: 3, cy: 3, r: 1.5 })),
  );
  return { defs, fill: (name) => `url(#${set}-${name})` };
}

function swatch(name) {
  const { defs, fill } = patterns();
  return svg("svg", { class: "swatch", width: 16, height: 12, "aria-hidden": "true" }, defs,
    svg("rect", { class: `edge-${name}`, fill: fill(name), x: 0.5, y: 0.5, width: 15, height: 11 }));
}
