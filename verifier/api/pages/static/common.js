// Build what the pages of decisions and trust share: lists of facts, wide tables, and results that belong to one key.
import { byId, cut, el, moment, shown, visible } from "./dom.js";

/** A list of names and values. A value is a node or a text that others chose. Empty values are left out. */
export function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined && value !== false);
  return el("dl", { class: "data" }, rows.map(([name, value]) => [
    el("dt", {}, name),
    el("dd", {}, value instanceof Node || Array.isArray(value) ? value : shown(value)),
  ]));
}

export function code(text) {
  return shown(text, { className: "code" });
}

/** Show the start of a value that others chose, without a button: for places that open the whole value. */
export function brief(text, limit) {
  const parts = text.length > limit ? [...visible(cut(text, limit)), "…"] : visible(text);
  return el("bdi", { class: "value" }, parts);
}

export function when(text) {
  return text === null || text === "" ? null : moment(text);
}

/** A table in a box of its own that scrolls sideways, also by keyboard. `rows` are lists of nodes or texts. */
export function wideTable(caption, columns, rows) {
  const cell = (value, index) => (index === 0 ? el("th", { scope: "row" }, value) : el("td", {}, value));
  return el(
    "div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table", {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, columns.map((name) => el("th", { scope: "col" }, name)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map(cell)))),
    ),
  );
}

/** A part that is closed at first. `build` makes its content when it is opened, because a page may have hundreds. */
export function builtWhenOpened(className, summary, build, isOpen = false) {
  const details = el("details", { class: className || null, open: isOpen }, el("summary", {}, summary));
  const fill = () => details.open && details.childElementCount === 1 && details.append(build());
  details.addEventListener("toggle", fill);
  fill();
  return details;
}

/** Return `1 decision`, `2 decisions` and so on. */
export function counted(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

/** Call `forget` when another key is typed: what one key may see is not left to the next one. */
export function onOtherKey(forget) {
  byId("key").addEventListener("input", forget);
}

/** Run `start` when the person presses Enter in the field of the key. */
export function onKeyEntered(start) {
  byId("key-form").addEventListener("submit", start);
}

/** How much work runs in each box. Work that was aborted ends only after the next work has begun. */
const running = new WeakMap();

/**
 * Mark a box as busy while `work` runs. Its button keeps the focus, so it is not disabled: it only says so, and a second
 * press does nothing.
 */
export async function busy(box, button, work) {
  if (button?.getAttribute("aria-disabled") === "true") return undefined;
  running.set(box, (running.get(box) ?? 0) + 1);
  box.setAttribute("aria-busy", "true");
  button?.setAttribute("aria-disabled", "true");
  try {
    return await work();
  } finally {
    running.set(box, running.get(box) - 1);
    if (running.get(box) === 0) box.removeAttribute("aria-busy");
    button?.removeAttribute("aria-disabled");
  }
}
