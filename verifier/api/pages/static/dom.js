// Build the DOM from elements and text. No text is ever read as HTML.

// Characters that hide, reorder or break other text: controls, directional marks, zero-width and tag characters.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffc\ud800-\udfff\p{Cf}\p{Default_Ignorable_Code_Point}]|[\u{1d173}-\u{1d17a}\u{e0000}-\u{e0fff}]/gu;
const LONG = 240;
// No line breaks inside a cluster, so a longer one can be wider than a phone. Words of any script have shorter ones.
const LONGEST_CLUSTER = 16;
const CLUSTERS = Intl.Segmenter && new Intl.Segmenter("en", { granularity: "grapheme" });
// A cluster has at most one character of ASCII, so a longer one matches.
const MAY_BE_LONG = /[^\0-\x7f]{8}/u;
// A quotation mark of JSON can begin a cluster. It and the line breaks of the text stay.
const NOT_ASCII = /[^\n -~]+/g;

/** Create an element. `properties` are attributes, `class`, and functions as listeners of the event `onevent`. */
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Set attributes and listeners of an element, and append children: nodes, texts, or lists of them. */
export function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  const given = children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
  element.append(...given);
  return element;
}

export function byId(id) {
  return document.getElementById(id);
}

/** Return the text with each hidden character, and each long cluster, written as `\u{202E}`. For attributes and copies. */
export function escaped(text) {
  return split(String(text), escapes).join("");
}

/** Return nodes that show the text. Hidden characters and long clusters are marked escapes, never the characters themselves. */
export function visible(text) {
  return split(String(text), (part) => el("span", { class: "escape" }, escapes(part)))
    .map((part) => (part instanceof Node ? part : document.createTextNode(part)));
}

/** Return JSON in which hidden characters and long clusters are escapes of JSON: a copy of it has the same meaning. */
export function jsonText(value) {
  return split(JSON.stringify(value, null, 2), (part) => part.replace(NOT_ASCII, units)).join("");
}

/** Return the parts of a text in their order. `write` replaces each hidden character and each long cluster. */
function split(text, write) {
  const parts = [];
  let place = 0;
  for (const { index, segment } of longClusters(text)) {
    for (const part of splitHidden(text.slice(place, index), write)) parts.push(part);
    parts.push(write(segment));
    place = index + segment.length;
  }
  return parts.concat(splitHidden(text.slice(place), write));
}

function splitHidden(text, write) {
  const parts = [];
  let place = 0;
  for (const match of text.matchAll(HIDDEN)) {
    if (match.index > place) parts.push(text.slice(place, match.index));
    parts.push(write(match[0]));
    place = match.index + match[0].length;
  }
  if (place < text.length) parts.push(text.slice(place));
  return parts;
}

function longClusters(text) {
  if (!CLUSTERS || !MAY_BE_LONG.test(text)) return [];
  return [...CLUSTERS.segment(text)].filter(({ segment }) => segment.length > LONGEST_CLUSTER && [...segment].length > LONGEST_CLUSTER);
}

function units(text) {
  return Array.from({ length: text.length }, (_, place) =>
    `\\u${text.charCodeAt(place).toString(16).padStart(4, "0")}`).join("");
}

function escapes(text) {
  return Array.from(text, (one) => `\\u{${one.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}}`).join("");
}

/** Return the beginning of a text, in at most `limit` units of UTF-16, without half a character at its end. */
export function cut(text, limit) {
  return text.slice(0, limit - (text.codePointAt(limit - 1) > 0xffff ? 1 : 0));
}

/** Show a value that others chose: isolated from the text around it, and cut if it is long, with a button for the rest. */
export function shown(text, { limit = LONG, className = "" } = {}) {
  const whole = String(text);
  const box = el("bdi", { class: `value ${className}`.trim() });
  if (whole.length <= limit * 1.25) {
    box.append(...visible(whole));
    return box;
  }
  const short = () => [...visible(cut(whole, limit)), "…"];
  box.append(...short());
  const button = el("button", {
    type: "button",
    class: "small",
    "aria-expanded": "false",
    onclick: () => {
      const isOpen = button.getAttribute("aria-expanded") === "true";
      box.replaceChildren(...(isOpen ? short() : visible(whole)));
      button.setAttribute("aria-expanded", String(!isOpen));
      button.textContent = isOpen ? label : "Show less";
    },
  });
  const label = `Show all ${whole.length.toLocaleString("en")} characters`;
  button.textContent = label;
  return el("span", { class: "long" }, box, " ", button);
}

/** Show a moment of the API (RFC 3339, UTC) as `2026-07-28 12:00:00 UTC`. */
export function moment(text) {
  return el("time", { datetime: text, class: "moment" }, momentText(text));
}

export function momentText(text) {
  const parts = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)/.exec(text);
  return parts ? `${parts[1]} ${parts[2]} UTC` : escaped(text);
}

/** Return how far apart two times (milliseconds) are, such as `3 days`. */
export function span(milliseconds) {
  const units = [["year", 31557600e3], ["day", 864e5], ["hour", 36e5], ["minute", 6e4], ["second", 1e3]];
  const size = Math.abs(milliseconds);
  const [name, unit] = units.find(([, one]) => size >= one) ?? ["second", 1e3];
  const number = Math.floor(size / unit);
  return `${number} ${name}${number === 1 ? "" : "s"}`;
}

const ICONS = { good: "✓", bad: "✕", warn: "!", off: "–" };

/** A word with an icon. `state` is good, bad, warn or off. The colour is never the only difference. */
export function badge(state, word) {
  return el("span", { class: `badge badge-${state}` }, el("span", { "aria-hidden": "true" }, ICONS[state]), ` ${word}`);
}

/** A framed message. The states are those of `badge`. */
export function notice(state, title, ...children) {
  return el("div", { class: `notice notice-${state}` }, el("p", {}, badge(state, title)), children);
}

/** Return a button that copies what `text` returns, and says so. */
export function copyButton(label, text) {
  const button = el("button", {
    type: "button",
    class: "small",
    onclick: async () => {
      let said = "Copied";
      try {
        await navigator.clipboard.writeText(text());
      } catch {
        // Without TLS, browsers give no clipboard to other hosts than loopback.
        said = "The browser refused: select the text and copy it";
      }
      button.textContent = said;
      announce(said);
      setTimeout(() => (button.textContent = label), 2500);
    },
  }, label);
  return button;
}

/** Say something to screen readers, in one line. */
export function announce(text) {
  byId("live").textContent = escaped(String(text).replace(/\s+/g, " ").trim());
}
