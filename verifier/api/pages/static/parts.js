// Parts that the sections of an inspection share.
import { el } from "./dom.js";

/** The mark of each value that no check has proved. */
export function mark() {
  return el("span", { class: "mark" }, "unverified");
}

/** Return a section whose heading says if its values are unverified. */
export function section(title, isUnverified, ...children) {
  const id = `section-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return el(
    "section",
    { class: isUnverified ? "unverified" : "authentic", "aria-labelledby": id },
    el("h2", { id }, title, isUnverified && [" ", mark()]),
    children,
  );
}

/** Return a table of names and values. Each row has its mark. Rows are [name, node or text]. */
export function rows(caption, entries, isUnverified) {
  return el(
    "table",
    { class: "rows" },
    el("caption", { class: "visually-hidden" }, caption),
    el("tbody", {}, entries.map(([name, value]) => el(
      "tr",
      {},
      el("th", { scope: "row" }, el("span", { class: "name" }, name), isUnverified && [" ", mark()]),
      el("td", {}, value),
    ))),
  );
}

/** Words in place of a value that is not there. */
export function none(words) {
  return el("span", { class: "soft" }, words);
}
