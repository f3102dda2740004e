// Read distinguished names in the form of RFC 4514. A sender chooses them, so that a pattern is not enough.

const ESCAPED = /[ "#+,;<=>\\]/;
const PAIR = /^[0-9a-f]{2}/i;
const HEX_VALUE = /^#(?:[0-9a-f]{2})+$/i;
const TYPE = /^ *([a-z][a-z0-9-]*|\d+(?:\.\d+)*)=/i;
const COMMON_NAME = new Set(["cn", "2.5.4.3"]);

/** Return the attributes of a name in its order, each as [type, value], or null if the text is no such name. */
export function attributesOf(subject) {
  const found = [];
  let rest = String(subject);
  while (rest !== "" || found.length > 0) {
    const type = TYPE.exec(rest);
    if (type === null) return null;
    const read = readValue(rest.slice(type[0].length));
    if (read === null) return null;
    found.push([type[1], read.value]);
    // A comma ends a relative name, and a plus sign ends one attribute of it.
    if (read.rest === "") return found;
    rest = read.rest.slice(1);
  }
  return found;
}

/** Read a value up to the comma or plus sign that ends it. Pairs of hexadecimal digits are bytes of UTF-8. */
function readValue(text) {
  const bytes = [];
  const encoder = new TextEncoder();
  let place = 0;
  while (place < text.length && text[place] !== "," && text[place] !== "+") {
    if (text[place] === "\\") {
      const pair = PAIR.exec(text.slice(place + 1, place + 3));
      if (pair) bytes.push(parseInt(pair[0], 16));
      else if (ESCAPED.test(text[place + 1] ?? "")) bytes.push(text.charCodeAt(place + 1));
      else return null;
      place += pair ? 3 : 2;
    } else {
      if (text[place] === '"' || text[place] === ";") return null;
      const character = String.fromCodePoint(text.codePointAt(place));
      bytes.push(...encoder.encode(character));
      place += character.length;
    }
  }
  const raw = text.slice(0, place);
  if (raw.startsWith("#") && !HEX_VALUE.test(raw)) return null;
  try {
    return { value: new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes)), rest: text.slice(place) };
  } catch {
    return null;
  }
}

/** Return the common name of a subject. It is the whole subject if that has no common name, or more than one. */
export function shortName(subject) {
  const names = (attributesOf(subject) ?? []).filter(([type]) => COMMON_NAME.has(type.toLowerCase()));
  return names.length === 1 && names[0][1].trim() !== "" ? names[0][1] : subject || "(no name)";
}
