// Show the ASN.1 elements of the document as a tree that opens and closes. Elements nest in details and summary.
import { badge, el, shown, visible } from "./dom.js";
import { mark, section } from "./parts.js";

const OPEN_LEVELS = 3;
const DEEP = 10; // levels that are indented
const pending = new WeakMap();
// Values that no sender can fill with words of their own need no mark: TRUE, FALSE, an identifier and its name.
const UNMARKED = new Set(["OBJECT IDENTIFIER", "BOOLEAN"]);
const WITHOUT_WORDS = /^(?:TRUE|FALSE|\d+(?:\.\d+)+(?: \([A-Za-z0-9-]+\))?)$/;

export function structureSection(structure, isUnverified) {
  const tree = el("ul", { class: "tree" }, item(structure.root, 0, isUnverified));
  return section(
    "Structure",
    isUnverified,
    el("p", { class: "soft" }, "The elements of the CMS structure. The first number is the byte offset in the DER, the last one the length with the header."),
    structure.truncated && el("p", {}, badge("warn", "The document has more elements than this.")),
    el("div", { class: "row" },
      el("button", { type: "button", class: "small", onclick: () => openAll(tree) }, "Open all"),
      el("button", { type: "button", class: "small", onclick: () => closeAll(tree) }, "Close all")),
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
    node.value && [" ", shown(node.value, { className: "code" }), isUnverified && !(UNMARKED.has(node.tag) && WITHOUT_WORDS.test(node.value)) && [" ", mark()]],
    node.error && [" ", badge("bad", ""), shown(node.error, { className: "error" })],
  ];
  if (children.length === 0) return el("li", { class: "leaf" }, line);
  const branch = el("details", { ontoggle: () => grow(branch) }, el("summary", {}, line));
  // A document may have 2,000 elements: those of a closed branch are made when it is opened.
  pending.set(branch, () => el(
    "ul",
    { class: level > DEEP ? "flat" : null },
    children.map((child) => item(child, level + 1, isUnverified)),
  ));
  if (level < OPEN_LEVELS) open(branch);
  return el("li", {}, branch);
}

function grow(branch) {
  const make = branch.open && pending.get(branch);
  if (!make) return;
  pending.delete(branch);
  branch.append(make());
}

function open(branch) {
  branch.open = true;
  grow(branch);
}

function openAll(tree) {
  for (let closed = [tree]; closed.length > 0; closed = [...tree.querySelectorAll("details:not([open])")]) {
    closed.filter((one) => one !== tree).forEach(open);
  }
}

function closeAll(tree) {
  for (const branch of tree.querySelectorAll("details")) branch.open = false;
}
