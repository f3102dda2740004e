// The inspector: read the form, ask for an inspection, and show the answer. The form keeps its input in every case.
import { ask, problemNotice } from "./api.js";
import { announce, byId, el, notice, shown } from "./dom.js";
import { onOtherKey } from "./common.js";
import { report, showChecks, verdict } from "./report.js";

const MOST_BYTES = 1024 * 1024; // the largest limit that a service can have
const NEEDED = "a backend key or an admin key";

const form = byId("inspect-form");
const text = byId("document");
const result = byId("result");
const reportBox = byId("report");
const domains = JSON.parse(result.dataset.domains);
let file = null; // { name, bytes }: it takes the place of the text
let example = ""; // the text that an example has filled in
let running = null;

form.addEventListener("submit", (event) => {
  event.preventDefault();
  inspect();
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) inspect();
});
byId("file").addEventListener("change", (event) => takeFile(event.target.files[0]));
byId("file-remove").addEventListener("click", () => {
  useFile(null);
  text.focus();
});
byId("clear").addEventListener("click", () => {
  running?.abort();
  form.reset();
  useFile(null);
  show([], []);
  showChecks(null);
  text.focus();
});
// What one key may see is not left to the next one.
onOtherKey(() => {
  running?.abort();
  show([], []);
  showChecks(null);
});
for (const button of document.querySelectorAll(".example")) {
  button.addEventListener("click", () => takeExample(button));
}

// A file may be dropped anywhere. Without these, the browser would leave the page and open it.
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) document.body.classList.remove("dropping");
});
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dropping");
  if (event.dataTransfer.files.length === 0) return;
  event.preventDefault();
  takeFile(event.dataTransfer.files[0]);
});

async function takeFile(given) {
  if (!given) return;
  if (given.size > MOST_BYTES) {
    fail(notice("bad", `The file has ${given.size.toLocaleString("en")} bytes.`,
      el("p", {}, "No service reads more than 1,048,576 bytes. One document has 1.4 to 4.4 KB.")));
    return;
  }
  let bytes;
  try {
    bytes = new Uint8Array(await given.arrayBuffer());
  } catch {
    fail(notice("bad", "The browser cannot read this file.", el("p", {}, "A folder is no file. Drop one document.")));
    return;
  }
  useFile({ name: given.name, bytes });
  await inspect();
}

function useFile(given) {
  file = given;
  byId("text-field").hidden = file !== null;
  byId("file-field").hidden = file === null;
  if (file === null) byId("file").value = "";
  else byId("file-name").replaceChildren("File ", shown(file.name, { limit: 100 }), `, ${file.bytes.length.toLocaleString("en")} bytes`);
}

async function takeExample(button) {
  let bytes;
  try {
    bytes = new Uint8Array(await (await fetch(button.dataset.asset)).arrayBuffer());
  } catch {
    fail(notice("bad", "The service did not answer.", el("p", {}, "Look at the network and at the service, then try again.")));
    return;
  }
  byId("at").value = button.dataset.at;
  if (text.value === "" || text.value === example) {
    example = new TextDecoder().decode(bytes);
    text.value = example;
    useFile(null);
  } else {
    useFile({ name: button.dataset.asset.split("/").at(-1), bytes }); // what was typed stays in its field
  }
  await inspect();
}

/** Return the bytes of the document and its media type. Only JSON needs its own: the service finds the other forms. */
function body() {
  const bytes = file ? file.bytes : new TextEncoder().encode(text.value);
  const first = bytes.find((one, place) => !(one <= 0x20 || (place < 3 && [0xef, 0xbb, 0xbf].includes(one))));
  return { bytes, type: first === 0x7b ? "application/json" : "application/octet-stream" };
}

/** Return the time in the form that the API takes: empty for now, and null if the text is no time from 2000 to 2099. */
function moment(typed) {
  if (typed === "") return "";
  const parts = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?)? ?(Z|UTC|[+-]\d\d:\d\d)?$/i.exec(typed);
  if (parts === null) return null;
  const [, day, time = "00:00", seconds = ":00", zone = "Z"] = parts;
  const text = `${day}T${time}${seconds}${/^[+-]/.test(zone) ? zone : "Z"}`;
  const year = Number(day.slice(0, 4));
  // A browser reads the 31st of February as a day of March.
  const isDay = !Number.isNaN(Date.parse(day)) && new Date(Date.parse(day)).toISOString().startsWith(day);
  return isDay && !Number.isNaN(Date.parse(text)) && year >= 2000 && year <= 2099 ? text : null;
}

async function inspect() {
  const { bytes, type } = body();
  running?.abort();
  if (bytes.length === 0) {
    fail(notice("warn", "There is no document.", el("p", {}, "Paste one, drop a file, or try an example.")));
    text.focus();
    return;
  }
  const at = moment(byId("at").value.trim());
  if (at === null) {
    fail(notice("bad", "“As of” has no time that the service takes.",
      el("p", {}, "Type a time in UTC from 2000 to 2099, such as 2026-07-28 14:00, or nothing for the present.")));
    byId("at").setAttribute("aria-invalid", "true");
    byId("at").focus();
    return;
  }
  byId("at").removeAttribute("aria-invalid");
  const own = (running = new AbortController());
  result.setAttribute("aria-busy", "true");
  announce("The service inspects the document.");
  try {
    const answer = await ask("/v1/inspections", {
      isExact: true,
      method: "POST",
      query: { at, policy: byId("policy").value.trim() },
      body: bytes,
      type,
      signal: own.signal,
    });
    show([verdict(answer)], report(answer, domains));
    showChecks(answer);
    const sentence = answer.authentic === null ? `Unverified, and anyone can forge it: ${answer.detail}` : answer.detail;
    announce(answer.verdict === "verified" ? "Verified." : `Refused: ${answer.code}. ${sentence}`);
    result.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
  } catch (error) {
    if (error.name === "AbortError") return;
    fail(problemNotice(error, NEEDED));
  } finally {
    if (running === own) result.setAttribute("aria-busy", "false");
  }
}

function fail(box) {
  show([box], []);
  showChecks(null);
  announce([...box.querySelectorAll("p")].map((one) => one.textContent).join(" "));
  result.scrollIntoView({ block: "nearest" });
}

function show(above, below) {
  result.replaceChildren(...above);
  reportBox.replaceChildren(...below);
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
