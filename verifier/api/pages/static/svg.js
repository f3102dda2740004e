// Draw pictures that fit the width of their box, with a title and a description for screen readers.
import { cut, escaped, fill } from "./dom.js";

const NAMESPACE = "http://www.w3.org/2000/svg";
let pictures = 0;

/** Create an SVG element, as `el` creates one of HTML. Use classes: the page allows no style attribute. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(NAMESPACE, tag), properties, children);
}

/** Create a picture of this size in CSS pixels. Its shapes are hidden from screen readers, which read both texts. */
export function picture({ title, description, width, height }, ...shapes) {
  const id = `picture-${(pictures += 1)}`;
  return svg(
    "svg",
    {
      class: "picture", role: "img", viewBox: `0 0 ${width} ${height}`, width, height,
      "aria-labelledby": `${id}-title ${id}-description`,
    },
    svg("title", { id: `${id}-title` }, escaped(title)),
    svg("desc", { id: `${id}-description` }, escaped(description)),
    shapes,
  );
}

/** Keep a box filled with what `draw(width)` returns, whenever its width changes. Returns the box. */
export function drawn(box, draw) {
  let last = 0;
  new ResizeObserver(([entry]) => {
    const width = Math.floor(entry.contentRect.width);
    if (width > 0 && width !== last) {
      last = width;
      box.replaceChildren(draw(width));
    }
  }).observe(box);
  return box;
}

/** Return a function from times to x positions. `from` and `to` are milliseconds, `left` and `right` CSS pixels. */
export function scale(from, to, left, right) {
  const length = Math.max(1, to - from);
  return (time) => left + ((time - from) / length) * (right - left);
}

const STEPS = [1, 5, 15, 30].map((n) => n * 1e3)
  .concat([1, 5, 15, 30].map((n) => n * 6e4), [1, 3, 6, 12].map((n) => n * 36e5), [1, 2, 7, 14].map((n) => n * 864e5));

/** Return round times between `from` and `to`, each with a label: at most `count` of them. */
export function ticks(from, to, count) {
  const step = STEPS.find((one) => (to - from) / one <= count);
  if (step) {
    const first = Math.ceil(from / step) * step;
    return range(first, to, step).map((time) => ({ time, label: label(time, step) }));
  }
  const months = [1, 2, 3, 6, 12, 24, 60, 120, 240, 1200].find((one) => (to - from) / (one * 2629800e3) <= count) ?? 12000;
  const start = new Date(from);
  const found = [];
  let month = Math.ceil((start.getUTCFullYear() * 12 + start.getUTCMonth()) / months) * months;
  for (; Date.UTC(0, month) + YEAR_ZERO <= to; month += months) {
    const time = Date.UTC(0, month) + YEAR_ZERO;
    const text = new Date(time).toISOString();
    if (time >= from) found.push({ time, label: months % 12 === 0 ? text.slice(0, 4) : text.slice(0, 7) });
  }
  return found;
}

// Date.UTC reads the year 0 as 1900.
const YEAR_ZERO = new Date("0000-01-01T00:00:00Z").getTime() - Date.UTC(0, 0);

function range(first, last, step) {
  return Array.from({ length: Math.max(0, Math.floor((last - first) / step) + 1) }, (_, index) => first + index * step);
}

function label(time, step) {
  const text = new Date(time).toISOString();
  if (step >= 864e5) return text.slice(0, 10);
  return step >= 6e4 ? text.slice(11, 16) : text.slice(11, 19);
}

/** Cut a text so that it fits into `width` CSS pixels, at `size` pixels a character. */
export function fitted(text, width, size = 7) {
  const most = Math.max(4, Math.floor(width / size));
  const safe = escaped(text);
  return safe.length <= most ? safe : `${cut(safe, most - 1)}…`;
}
