// Show the ASN.1 elements of the document as a tree that opens and closes. Elements nest in details and summary.
import { badge, el, shown, visible } from "./dom.js";
import { mark, section } from "./parts.js";

const OPEN_LEVELS = 3;
// Values that no sender can fill with words of their own need no mark.
const UNMARKED = new Set(["OBJECT IDENTIFIER", "NULL", "BOOLEAN"]);

export function structureSection(structure, isUnverified) {
  const tree = el("ul", { class: "tree" }, item(structure.root, 0, isUnverified));
  const all = (isOpen) => () => {
    for (const one of tree.querySelectorAll("details")) one.open = isOpen;
  };
  return section(
    "Structure",
    isUnverified,
    el("p", { class: "soft" }, "The elements of the CMS structure. The first number is the byte offset in the DER, the last one the length with the header."),
    structure.truncated && el("p", {}, badge("warn", "The document has more elements than this.")),
    el("div", { class: "row" },
      el("button", { type: "button", class: "small", onclick: all(true) }, "Open all"),
      el("button", { type: "button", class: "small", onclick: all(false) }, "Close all")),
    el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": isUnverified ? "Structure, unverified" : "Structure" }, tree),
  );
}

function item(node, level, isUnverified) {
  const children = node.children ?? [];
  const line = [
    el("span", { class: "offset" }, el("span", { class: "visually-hidden" }, "Byte "), String(node.offset)),
    " ",
    node.name && [el("span", { class: "field" }, visible(node.name)), " "],
    el("span", { class: "tag" }, visible(node.tag)),
    " ",
    el("span", { class: "length" }, `${node.headerLength + node.length} bytes`),
    node.value && [" ", shown(node.value, { className: "code" }), isUnverified && !UNMARKED.has(node.tag) && [" ", mark()]],
    node.error && [" ", badge("bad", ""), shown(node.error, { className: "error" })],
  ];
  if (children.length === 0) return el("li", { class: "leaf" }, line);
  return el("li", {}, el(
    "details",
    { open: level < OPEN_LEVELS },
    el("summary", {}, line),
    el("ul", { class: level > 10 ? "flat" : null }, children.map((child) => item(child, level + 1, isUnverified))),
  ));
}
