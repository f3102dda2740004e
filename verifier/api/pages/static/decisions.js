// The page of decisions: search, list and read them. `usage.js` counts VMs.
import { Problem, ask, problemNotice } from "./api.js";
import { announce, byId, el, momentText, notice, shown } from "./dom.js";
import { busy, counted, onKeyEntered, onOtherKey } from "./common.js";
import { HEADINGS, decisionItem } from "./record.js";
import { verdictsFigure } from "./verdicts.js";
import "./usage.js";

export const NEEDED_KEY = "a backend key or an admin key";
const FIRST = 50;
const MORE = 200;
const GUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const REQUEST = /^[0-9a-f]{32}$/;

const form = byId("search");
const result = byId("result");
const find = byId("find");
let running = new AbortController();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  search();
});
byId("clear").addEventListener("click", () => {
  for (const field of byId("filters").querySelectorAll("input, select")) field.value = "";
});
onKeyEntered(() => search());
onOtherKey(() => forget());
find.addEventListener("input", () => mark(""));

function forget() {
  running.abort();
  result.replaceChildren();
  byId("tenants").replaceChildren();
}

/** Say that the text of the search field is none that exists, or take that back. */
function mark(fault) {
  find.toggleAttribute("aria-invalid", false);
  if (fault) find.setAttribute("aria-invalid", "true");
  byId("find-hint").textContent = fault
    || "A vmId, a subscriptionId, the request id of a problem, or the jti of a token. Empty: the newest decisions.";
  byId("find-hint").classList.toggle("fault", fault !== "");
}

/** Read the form. Returns null, and says why, if the search field has no id. */
function question() {
  const text = find.value.trim().toLowerCase().replace(/^(?:urn:uuid:)?["'{]*|["'}]*$/g, "");
  if (text && !GUID.test(text) && !REQUEST.test(text)) {
    const fault = "This is no id: a vmId and a subscriptionId have 8-4-4-4-12 hexadecimal digits, a request id has 32.";
    forget(); // the earlier results do not answer this question
    mark(fault);
    announce(fault);
    find.focus();
    return null;
  }
  mark("");
  const given = new FormData(form);
  const filters = Object.fromEntries(["verdict", "code", "plan", "subscriptionId", "tenant"].map((name) => [name, given.get(name).trim()]));
  for (const name of ["since", "until"]) {
    const moment = given.get(name);
    filters[name] = moment && `${moment.length === 16 ? `${moment}:00` : moment}Z`;
  }
  return { id: GUID.test(text) ? text : "", request: REQUEST.test(text) ? text : "", filters };
}

async function search() {
  const asked = question();
  if (asked === null) return;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  result.replaceChildren(el("p", { class: "soft" }, "Searching…"));
  try {
    await busy(result, null, () => (asked.request ? showRequest(asked.request, signal) : showFound(asked, signal)));
  } catch (error) {
    fail(error, result);
  }
}

/** Show a problem in place of the content of `box`. The form stays as it is. */
function fail(error, box) {
  if (error.name === "AbortError") return;
  // The detail of a 404 is already the sentence: no such decision, or a service that keeps none.
  const isAbsent = error instanceof Problem && error.status === 404 && error.detail;
  const shownProblem = isAbsent ? notice("warn", "Not found", el("p", {}, shown(error.detail))) : problemNotice(error, NEEDED_KEY);
  box.replaceChildren(shownProblem);
  announce(shownProblem.innerText);
}

async function showRequest(id, signal) {
  const decision = await ask(`/v1/decisions/${id}`, { signal });
  result.replaceChildren(
    el("h2", {}, "The decision of this request"),
    el("ol", { class: "decisions" }, decisionItem(decision, { isOpen: true })),
  );
  announce(`One decision: ${decision.verdict}.`);
}

async function showFound({ id, filters }, signal) {
  let query = { ...filters, ...(id && { vmId: id }) };
  let note = "";
  let page = await firstPage(query, signal);
  if (id && page.decisions.length === 0 && !filters.subscriptionId) {
    const ofSubscription = { ...filters, subscriptionId: id };
    const other = await firstPage(ofSubscription, signal);
    if (other.decisions.length > 0) {
      [query, page] = [ofSubscription, other];
      note = "No decision is of a VM with this id. These are of the subscription with it.";
    }
  }
  if (page.decisions.length === 0) {
    const said = "No decision matches.";
    result.replaceChildren(notice("off", said, el("p", {}, "Decisions are kept for 30 days at most, and refusals before the chain check name no VM.")));
    announce(said);
    return;
  }
  list(query, page, note, signal);
}

/** Ask for pages until one has a decision or the last one is reached: a page can be empty and not be the last. */
async function firstPage(query, signal, { limit = FIRST, cursor = "", onEmpty = () => {} } = {}) {
  for (;;) {
    const page = await ask("/v1/decisions", { query: { ...query, limit, cursor }, signal });
    if (page.decisions.length > 0 || page.cursor === null) return page;
    cursor = page.cursor;
    onEmpty(cursor);
  }
}

function list(query, page, note, signal) {
  const loaded = [...page.decisions];
  let cursor = page.cursor;
  const heading = el("h2", {}, "");
  const figure = el("div", {});
  const items = el("ol", { class: "decisions" });
  const end = el("div", { class: "row" });
  const trouble = el("div", {});

  const which = () => {
    const times = [loaded.at(-1).time, loaded[0].time].map(momentText);
    const number = loaded.length === 1 ? "the newest decision that matches" : `the newest ${counted(loaded.length, "decision")} that match`;
    return `${cursor === null ? number.replace("the newest ", loaded.length === 1 ? "the only " : "all ") : number}, from ${times[0]} to ${times[1]}`;
  };
  const show = (added) => {
    const said = which();
    heading.textContent = cursor === null ? counted(loaded.length, "decision") : `The newest ${counted(loaded.length, "decision")}`;
    if (loaded.length > 1) figure.replaceChildren(verdictsFigure(loaded, said));
    items.append(...added.map((decision) => decisionItem(decision, { isOpen: loaded.length === 1 })));
    if (cursor === null) {
      const last = el("p", { class: "soft", tabindex: "-1" }, "There are no older decisions that match.");
      const hadFocus = end.contains(document.activeElement);
      end.replaceChildren(last);
      if (hadFocus) last.focus();
    } else if (!more.isConnected) {
      end.replaceChildren(more); // only once: an element that is moved loses the focus
    }
    byId("tenants").replaceChildren(...[...new Set(loaded.map((one) => one.tenant))].filter(Boolean).map((value) => el("option", { value })));
    announce(`Shown: ${said}.`);
  };
  const more = el("button", { type: "button", onclick: () => loadMore() }, "Load older decisions");
  const loadMore = () => busy(items, more, async () => {
    trouble.replaceChildren();
    try {
      // If a later page fails, the search goes on from the last one that was read.
      const next = await firstPage(query, signal, { limit: MORE, cursor, onEmpty: (reached) => (cursor = reached) });
      loaded.push(...next.decisions);
      cursor = next.cursor;
      show(next.decisions);
    } catch (error) {
      fail(error, trouble);
    }
  });

  const columns = el("p", { class: "columns headings", "aria-hidden": "true" }, HEADINGS.map((name) => el("span", {}, name)));
  result.replaceChildren(...[note && el("p", {}, note), heading, figure, columns, items, trouble, end].filter(Boolean));
  show(loaded);
}
