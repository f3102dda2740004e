// The page of trust: show what is in force, and approve or reject after a confirmation.
import { ask, problemNotice } from "./api.js";
import { announce, badge, byId, el, escaped, moment, notice } from "./dom.js";
import { busy, code, facts, onKeyEntered, onOtherKey } from "./common.js";
import { cloudSection } from "./trust_timeline.js";
import { feedSection, issuersSection } from "./trust_decisions.js";
import { recordSections } from "./trust_records.js";

const NEEDED_KEY = "an admin key";
const form = byId("show");
const button = form.querySelector("button");
const result = byId("result");
const done = byId("done");
const dialog = byId("confirm");
let running = new AbortController();

form.addEventListener("submit", (event) => {
  event.preventDefault();
  load();
});
onKeyEntered(() => load());
onOtherKey(() => {
  running.abort();
  result.replaceChildren();
  done.replaceChildren();
  button.textContent = "Show trust";
});

async function load() {
  running.abort();
  running = new AbortController();
  const { signal } = running;
  done.replaceChildren();
  await busy(result, null, async () => {
    try {
      show(await ask("/v1/trust", { signal }));
      announce("The trust in force is shown.");
    } catch (error) {
      if (error.name === "AbortError") return;
      const problem = problemNotice(error, NEEDED_KEY);
      result.replaceChildren(problem);
      announce(problem.innerText);
    }
  });
}

function show(survey) {
  button.textContent = "Reload";
  const counted = survey.clouds.filter((cloud) => cloud.served && !cloud.closed);
  result.replaceChildren(
    facts([["Evaluated at", moment(survey.evaluatedAt)], ["Generation", code(survey.generation)]]),
    overview(survey, counted),
    issuersSection(survey.discovered, confirm),
    feedSection(survey.feed, confirm),
    el("h2", {}, "Certificates of each cloud"),
    ...survey.clouds.map((cloud) => cloudSection(cloud, survey.evaluatedAt)),
    ...recordSections(survey),
  );
}

/** Say in one line for each cloud how long its chains last. */
function overview(survey, counted) {
  const now = Date.parse(survey.evaluatedAt);
  const line = (cloud) => {
    if (cloud.horizon === null) return [badge("bad", "no usable chain"), ": every document of this cloud is refused"];
    const isSoon = Date.parse(cloud.horizon) - now < 60 * 864e5;
    return [badge(isSoon ? "warn" : "good", isSoon ? "ends soon" : "holds"), " until ", moment(cloud.horizon)];
  };
  return el("ul", { class: "horizons" }, counted.map((cloud) => el("li", {}, el("strong", {}, cloud.name), ": ", line(cloud))));
}

/**
 * Ask the person to confirm an action. `action` has the title, what it does, a function that makes the facts which name
 * the certificate or the version, the word of the button, the path, and the sentence for afterwards.
 */
function confirm(action) {
  const trouble = el("div", {});
  const go = el("button", { type: "button", class: action.isRejection ? "danger" : "main", onclick: () => perform(action, go, trouble) }, action.verb);
  dialog.replaceChildren(
    // The heading has the focus, and no button: a key that is held down confirms nothing.
    el("h2", { id: "confirm-title", tabindex: "-1", autofocus: true }, action.title),
    el("p", {}, action.effect),
    facts(action.facts()),
    trouble,
    el("div", { class: "row" }, go, el("button", { type: "button", onclick: () => dialog.close() }, "Cancel")),
  );
  dialog.showModal();
}

async function perform(action, go, trouble) {
  trouble.replaceChildren();
  await busy(dialog, go, async () => {
    try {
      const survey = await ask(action.path, { method: "POST" });
      dialog.close();
      show(survey);
      const said = notice("good", escaped(action.done), el("p", { class: "soft" }, "Other workers and replicas follow within seconds. The list of changes below has the audit entry."));
      said.tabIndex = -1;
      done.replaceChildren(said);
      said.focus();
      said.scrollIntoView({ block: "nearest" });
      announce(action.done);
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, NEEDED_KEY));
      announce(trouble.innerText);
    }
  });
}
