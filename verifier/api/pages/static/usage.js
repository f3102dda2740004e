// Count the VMs of one month: bars, numbers, and whether they are exact and complete.
import { ask, problemNotice } from "./api.js";
import { announce, badge, byId, el, shown } from "./dom.js";
import { svg } from "./svg.js";
import { busy, counted, onOtherKey } from "./common.js";

const NEEDED_KEY = "a backend key or an admin key";
const NAMES = { plan: "Plan", product: "Product", sku: "SKU", cloud: "Cloud" };
/** The same inside a sentence. */
const WORDS = { ...NAMES, plan: "plan", product: "product", cloud: "cloud" };
/** Daily counts are kept for 400 days. */
const MONTHS = 13;

const form = byId("usage");
const result = byId("usage-result");
const month = byId("month");
const tenant = byId("usage-tenant");
const hint = byId("usage-tenant-hint");
const HINT = hint.textContent;
const MISSING = "An admin key counts the VMs of one tenant: type its name. A service without tenants has the tenant default.";
let needsTenant = false; // the service has said so of this key
let running = new AbortController();

const today = new Date();
for (let back = 0; back < MONTHS; back += 1) {
  const first = new Date(Date.UTC(today.getUTCFullYear(), today.getUTCMonth() - back, 1));
  const value = first.toISOString().slice(0, 7);
  const name = first.toLocaleDateString("en", { month: "long", year: "numeric", timeZone: "UTC" });
  month.append(el("option", { value }, back === 0 ? `${name}, until today` : name));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  count(event.submitter);
});
onOtherKey(() => {
  running.abort();
  needsTenant = false;
  mark("");
  result.replaceChildren();
});
tenant.addEventListener("input", () => mark(""));

/** Say at the field that the tenant is missing, or take that back. */
function mark(fault) {
  tenant.toggleAttribute("aria-invalid", false);
  if (fault) tenant.setAttribute("aria-invalid", "true");
  hint.textContent = fault || HINT;
  hint.classList.toggle("fault", fault !== "");
}

function askForTenant() {
  result.replaceChildren();
  mark(MISSING);
  announce(MISSING);
  tenant.focus();
}

/** Return the days of the chosen month. The current one ends with the service's own day, so it names no last day. */
function period() {
  const [year, number] = month.value.split("-").map(Number);
  const last = new Date(Date.UTC(year, number, 0)).toISOString().slice(0, 10);
  return { from: `${month.value}-01`, to: month.selectedIndex === 0 ? "" : last };
}

async function count(button) {
  const given = new FormData(form);
  const query = { ...period(), by: given.get("by"), tenant: given.get("tenant").trim() };
  if (needsTenant && !query.tenant) {
    askForTenant();
    return;
  }
  await busy(result, button, async () => {
    running = new AbortController();
    try {
      show(await ask("/v1/usage", { query, signal: running.signal }));
    } catch (error) {
      if (error.name === "AbortError") return;
      if (error.status === 400 && !query.tenant) {
        needsTenant = true;
        askForTenant();
        return;
      }
      const problem = problemNotice(error, NEEDED_KEY);
      result.replaceChildren(problem);
      announce(problem.innerText);
    }
  });
}

function show(usage) {
  const most = Math.max(1, ...usage.groups.map((group) => group.virtualMachines));
  const total = counted(usage.total, "virtual machine");
  const rows = usage.groups.map((group) => el(
    "tr", {},
    el("th", { scope: "row" }, group.value === "" ? el("span", { class: "soft" }, "(none)") : shown(group.value, { limit: 80 })),
    el("td", { class: "number" }, group.virtualMachines.toLocaleString("en")),
    el("td", { class: "bar-cell" }, bar(group.virtualMachines / most)),
  ));
  result.replaceChildren(
    el("h3", {}, `${total}, ${usage.from} to ${usage.to}`),
    el("p", {}, "Tenant ", shown(usage.tenant), ". ", exactness(usage), " ", completeness(usage)),
    usage.groups.length === 0
      ? el("p", { class: "soft" }, "No VM was verified in this period.")
      : el(
        "table", { class: "usage" },
        el("caption", {}, `Virtual machines by ${WORDS[usage.by] ?? usage.by}. A VM with two values counts in two rows, and once in the total.`),
        el("thead", {}, el("tr", {}, el("th", { scope: "col" }, NAMES[usage.by] ?? usage.by),
          el("th", { scope: "col", class: "number" }, "VMs"), el("td", { "aria-hidden": "true" }))),
        el("tbody", {}, rows),
      ),
  );
  announce(`${total} from ${usage.from} to ${usage.to}.`);
}

function exactness(usage) {
  return usage.exact
    ? [badge("good", "exact"), "."]
    : [badge("warn", "estimate"), `: the relative standard error is ${(usage.standardError * 100).toFixed(2)} %.`];
}

function completeness(usage) {
  if (usage.isComplete) return [badge("good", "complete"), ": each day was counted."];
  return [badge("warn", "incomplete"), usage.countedSince === null
    ? ": nothing was counted for this tenant so far."
    : `: days before ${usage.countedSince} were not, or not wholly, counted.`];
}

function bar(share) {
  return svg("svg", { class: "bar", viewBox: "0 0 100 1", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { width: Math.max(0.5, share * 100), height: 1 }));
}
