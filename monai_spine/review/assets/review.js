"use strict";
// The list of studies, the findings of one, and the changes that are sent. Text of the data is only ever set as text.
import { Viewer } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const POLL_MS = 400;
const NUDGE_MS = 700; // a point moved by keys is sent when the keys have rested so long

let words = null; // levels, conditions, grades
let studies = []; // summaries, in the order of the server
let state = null; // the study that is shown
let selected = null; // the name of a finding
let sending = 0; // changes that are not answered yet
let queue = Promise.resolve(); // they are sent one after the other, so that quick keys lose nothing
let polling = 0;
let nudging = null;

const viewer = new Viewer({
  onMove: async (finding, after, placed) => {
    await change({ what: "point", finding, after });
    if (!state.placing || !placed || selected !== finding) return;
    const next = state.points[finding] && toPlace()[0]; // one level after the other
    if (next) select(next.name);
    else placeIfMissing();
  },
  onSelect: select,
});

function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.filter((one) => one !== null && one !== false));
  return element;
}

function say(text, tone = "") {
  byId("status").textContent = text;
  byId("status").className = tone;
}

async function ask(path, body) {
  const options = body && {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Monai-Spine-Review": "1" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw Object.assign(new Error("The program does not answer. Is it still running on the terminal?"), { status: 0 });
  }
  const content = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(content.message), { status: answer.status, study: content.study });
  return content;
}

// ---- the list

function rowOf(summary) {
  const marks = [el("span", { class: `chip ${summary.tone}` }, summary.read ? `${summary.worst} ✎` : summary.worst)];
  if (summary.uncertain) marks.push(el("span", { class: "chip moderate" }, "levels?"));
  if (summary.corrected) marks.push(el("span", { class: "small" }, `✎ ${summary.corrected}`));
  if (!summary.images && !summary.refused) marks.push(el("span", { class: "small quiet" }, "no images"));
  const expected = summary.refused ? "" : `≈ ${summary.doubtful} doubtful`;
  const button = el(
    "button",
    { type: "button", "data-number": summary.number, onclick: () => open(summary.number) },
    el("span", { class: "id" }, summary.study),
    el("span", { class: "facts" }, ...marks, el("span", { class: "small quiet" }, expected)),
  );
  if (summary.done) button.prepend(el("span", { class: "tick", role: "img", "aria-label": `done by ${summary.done.by}` }, "✓"));
  return el("li", {}, button);
}

function shownStudies() {
  const text = byId("text").value.trim().toLowerCase();
  const filter = byId("filter").value;
  const tests = { open: (one) => !one.done && !one.refused, done: (one) => one.done, corrected: (one) => one.corrected, uncertain: (one) => one.uncertain, refused: (one) => one.refused };
  return studies.filter((one) => one.study.toLowerCase().includes(text) && (!filter || tests[filter](one)));
}

function drawList() {
  const shown = shownStudies();
  const done = studies.filter((one) => one.done).length;
  byId("list").replaceChildren(...shown.map(rowOf));
  byId("count").textContent = `${shown.length === studies.length ? "" : `${shown.length} of `}${studies.length}, ${done} done`;
  markCurrent();
}

function markCurrent() {
  for (const button of byId("list").querySelectorAll("button")) {
    const current = state !== null && Number(button.dataset.number) === state.number;
    if (current) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
    if (current && byId("drawer").open) button.scrollIntoView({ block: "nearest" });
  }
}

function updateSummary(summary) {
  const n = studies.findIndex((one) => one.number === summary.number);
  if (n < 0 || JSON.stringify(studies[n]) === JSON.stringify(summary)) return;
  studies[n] = summary;
  const old = byId("list").querySelector(`button[data-number="${summary.number}"]`);
  old?.parentElement.replaceWith(rowOf(summary));
  const done = studies.filter((one) => one.done).length;
  byId("count").textContent = `${studies.length}, ${done} done`;
  markCurrent();
}

function step(by) {
  const shown = shownStudies();
  if (!shown.length) return;
  const n = shown.findIndex((one) => one.number === state?.number);
  open(shown[(n + by + shown.length) % shown.length].number);
}

// ---- a study

async function open(number) {
  await flushNudge();
  await queue;
  try {
    const content = await ask(`/api/studies/${number}`);
    const refresh = state?.number === number;
    show(content, !refresh);
    if (!refresh) {
      say("");
      if (window.matchMedia("(max-width: 899px)").matches) byId("drawer").open = false;
      byId("study").focus({ preventScroll: true });
      window.scrollTo({ top: 0 });
    }
  } catch (error) {
    say(error.message, "bad");
  }
}

function show(content, fresh) {
  if (state?.placing && !content.placing) viewer.stopPlacing();
  state = content;
  if (fresh || !findingOf(selected)) selected = (state.placing ? toPlace()[0] ?? state.findings[0] : worstFinding())?.name ?? null;
  byId("study").hidden = false;
  byId("name").textContent = state.study;
  document.title = `${state.study} · Review`;
  byId("provenance").textContent = state.provenance;
  byId("done").setAttribute("aria-pressed", String(Boolean(state.done)));
  byId("done").title = state.done ? `by ${state.done.by}, ${state.done.at}` : "";
  byId("undo").disabled = !state.changes.some((one) => !one.undone);
  for (const id of ["up", "down"]) byId(id).disabled = !state.volumes.length || !Object.keys(state.points).length;
  byId("findings").hidden = !state.findings.length;
  byId("done").disabled = state.placing || !state.findings.length;
  showStale();
  showFault();
  viewer.selected = selected;
  viewer.show(state, fresh);
  drawGrid();
  drawDetail();
  drawChanges();
  updateSummary(state.summary);
  if (fresh) {
    markCurrent();
    const finding = findingOf(selected);
    if (finding) viewer.goToPoint(finding);
    placeIfMissing();
  }
  poll();
}

// The levels of a refused study that have no point yet, from above.
function toPlace() {
  return state.findings.filter((one) => !state.points[one.name]);
}

// Why there are no grades or images; of a refused study, how many levels are placed.
function showFault() {
  const all = state.findings.length;
  const placed = state.placing ? all - toPlace().length : 0;
  byId("fault").hidden = !state.fault;
  byId("fault").firstElementChild.textContent = state.placing ? `${state.fault} ${placed} of ${all} are placed.` : state.fault;
  byId("grade-now").hidden = !state.placing || placed === all;
  byId("grade-now").disabled = !placed;
}

function placeIfMissing() {
  const finding = findingOf(selected);
  if (!state.placing || !finding || state.points[selected]) viewer.stopPlacing();
  else viewer.startPlacing(selected, `Click ${finding.full} ${finding.title.split(",")[0]}.`);
}

function showStale() {
  const { progress, message } = state.grading;
  const box = byId("stale");
  box.hidden = !(progress === "failed" || (state.stale && progress === "idle"));
  box.firstElementChild.textContent = progress === "failed" ? `Not graded again: ${message}.` : "The grades were made with other points than those shown.";
}

function worstFinding() {
  const rank = { normal_mild: 0, moderate: 1, severe: 2 };
  const seen = state.findings.filter((one) => one.covered);
  return (seen.length ? seen : state.findings).reduce(
    (best, one) => (!best || rank[one.corrected ?? one.grade] > rank[best.corrected ?? best.grade] ? one : best),
    null,
  );
}

function findingOf(name) {
  return state?.findings.find((one) => one.name === name) ?? null;
}

function titleOf(grade) {
  return words.grades.find((one) => one.id === grade).title;
}

function drawGrid() {
  const short = (one) => el("th", { scope: "col" }, one.short.replace("subarticular", "sub\u00ADarticular"));
  const columns = words.conditions.filter((one) => state.findings.some((finding) => finding.condition === one.id));
  byId("head").replaceChildren(el("th", { scope: "col" }, "Level"), ...columns.map(short));
  const letters = words.grades.map((one) => `${one.title[0].toUpperCase()} ${one.title}`).join(", ");
  const legend = state.placing
    ? "Choose a level, scroll to the slice through the middle of the canal, and click behind the disc. Leave out levels that are not in the images."
    : "Choose a finding. ✎ is your grade, ? is a finding that no slice shows.";
  byId("legend").replaceChildren(legend, state.placing ? "" : el("span", { class: "brief" }, ` ${letters}.`));
  const focused = document.activeElement?.closest?.("#rows button")?.dataset.finding;
  const rows = words.levels.map((level) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, level.title),
      ...columns.map((condition) => cellOf(findingOf(`${condition.id}_${level.id}`))),
    ),
  );
  byId("rows").replaceChildren(...rows);
  if (focused) byId("rows").querySelector(`button[data-finding="${focused}"]`)?.focus({ preventScroll: true });
}

function cellOf(finding) {
  if (!finding) return el("td");
  const grade = finding.corrected ?? finding.grade;
  const tone = (finding.covered || finding.corrected) && grade ? grade : "unknown";
  const title = grade ? titleOf(grade) : state.points[finding.name] ? "✓ placed" : "to place";
  const mark = finding.corrected ? " ✎" : finding.covered ? "" : " ?";
  const where = state.points[finding.name] || !grade ? "" : ", no point";
  const label = `${finding.title}: ${title}${finding.corrected ? ", corrected" : ""}${finding.covered ? "" : ", no slice shows it"}${where}`;
  const button = el(
    "button",
    { type: "button", class: tone, "data-finding": finding.name, "aria-pressed": String(finding.name === selected), "aria-label": label, onclick: () => select(finding.name) },
    el("span", { class: "long" }, title.replace("/", "/\u200B")),
    el("span", { class: "brief" }, grade || state.points[finding.name] ? title[0].toUpperCase() : "–"),
    mark,
  );
  return el("td", {}, button);
}

function select(name) {
  selected = name;
  viewer.select(name);
  const finding = findingOf(name);
  const point = state.points[name];
  const volume = viewer.shown;
  // Stay where the person is if this slice shows the point already.
  const here = point && volume && viewer.nearest(volume, point.position) === viewer.k && viewer.marks.querySelector(`g[data-finding="${name}"]`);
  if (finding && !here) viewer.goToPoint(finding);
  placeIfMissing();
  drawGrid();
  drawDetail();
}

function drawDetail() {
  const finding = findingOf(selected);
  if (!finding) {
    byId("detail").replaceChildren();
    return;
  }
  const point = state.points[finding.name];
  const flags = [...finding.flags];
  const place = point ? `Point at ${point.position.map((mm) => mm.toFixed(1)).join(", ")} mm (RAS)${point.marked ? ", placed or moved by a person" : ""}.` : "It has no point.";
  const buttons = [
    el("button", { type: "button", onclick: () => viewer.goToPoint(finding) }, "Go to its slice ", el("kbd", {}, "g")),
    el("button", { type: "button", id: "place", onclick: () => viewer.startPlacing(finding.name) }, point ? "Place it anew on this slice" : "Place it on this slice"),
    state.placing ? el("button", { type: "button", onclick: KEYS.c }, "Put it into the middle ", el("kbd", {}, "c")) : "",
  ];
  const parts = [
    el("h4", {}, `${finding.title}: ${finding.full}`),
    ...(finding.grade ? gradeOf(finding) : []),
    el("p", { class: "small" }, finding.coverage ? `${finding.coverage}. ` : "", place),
    flags.length ? el("ul", { class: "small flags" }, ...flags.map((flag) => el("li", {}, flag))) : null,
    state.volumes.length ? el("div", { class: "buttons" }, ...buttons) : null,
  ];
  byId("detail").replaceChildren(...parts.filter(Boolean));
}

// The grades of a finding, and the buttons that change it.
function gradeOf(finding) {
  const bar = el("div", { class: "shares-bar", "aria-hidden": "true" });
  finding.widths.forEach((width, n) => {
    const part = el("i", { class: words.grades[n].id });
    part.style.width = `${width}%`;
    bar.append(part);
  });
  const shares = words.grades.map((grade, n) => `${grade.title} ${finding.shares[n]}`).join(" · ");
  const now = finding.corrected ?? finding.grade;
  const buttons = words.grades.map((grade, n) =>
    el("button", { type: "button", class: grade.id, "aria-pressed": String(grade.id === now), onclick: () => change({ what: "grade", finding: finding.name, after: grade.id }) }, grade.title, " ", el("kbd", {}, String(n + 1))),
  );
  if (finding.corrected) {
    buttons.push(el("button", { type: "button", onclick: () => change({ what: "grade", finding: finding.name, after: null }) }, "Take back ", el("kbd", {}, "0")));
  }
  return [
    el("p", { class: "small" }, `The program says ${titleOf(finding.grade)}${finding.corrected ? `; your grade is ${titleOf(finding.corrected)}` : ""}.`),
    bar,
    el("p", { class: "small quiet" }, shares),
    el("div", { class: "buttons grades", role: "group", "aria-label": `Grade of ${finding.title}` }, ...buttons),
  ];
}

function drawChanges() {
  const rows = state.changes.map((one) => {
    const when = one.at.replace("T", " ").replace("Z", " UTC");
    const text = `${when}, ${one.by}: ${one.words}`;
    return one.undone ? el("li", {}, el("s", {}, text), ` (undone by ${one.undone.by})`) : el("li", {}, text);
  });
  byId("changes").replaceChildren(...rows);
  byId("change-count").textContent = rows.length ? `(${rows.length})` : "(none)";
  const entries = Object.entries(state.left_out);
  byId("left-out").hidden = !entries.length;
  byId("left-out").querySelector("dl").replaceChildren(...entries.flatMap(([name, why]) => [el("dt", { class: "id" }, name), el("dd", {}, why)]));
}

// ---- changes

function change(request) {
  const by = byId("by").value.trim();
  if (!by && request.what !== "regrade") {
    say("Enter your initials first. The change was not made.", "bad");
    byId("by").focus();
    viewer.draw();
    return queue;
  }
  sending += 1;
  queue = queue.then(() => send(by, request));
  return queue;
}

// The study stays the same until the queue is empty: see open().
async function send(by, request) {
  try {
    const after = await ask(`/api/studies/${state.number}`, { version: state.version, by, ...request });
    say(request.what === "regrade" ? "Grading again …" : "Saved.");
    show(after, false);
  } catch (error) {
    say(error.message, "bad");
    if (error.study) show(error.study, false);
    else viewer.show(state, false);
  } finally {
    sending -= 1;
    poll();
  }
}

function poll() {
  clearTimeout(polling);
  const { progress } = state.grading;
  byId("study").classList.toggle("grading", progress === "grading" || progress === "waiting");
  if (progress !== "grading" && progress !== "waiting") return;
  say("Saved. Grading again with the new points …");
  polling = setTimeout(async () => {
    const before = state;
    try {
      const after = await ask(`/api/studies/${before.number}`);
      if (state !== before || sending || nudging) return; // a change came between
      show(after, false);
      if (after.grading.progress === "idle") say(`Graded again: ${difference(before, after)}.`);
      else if (after.grading.progress === "failed") say(`Not graded again: ${after.grading.message}`, "bad");
    } catch (error) {
      say(error.message, "bad");
      if (state === before) poll();
    }
  }, POLL_MS);
}

function difference(before, after) {
  if (before.placing !== after.placing) return after.placing ? "no levels are found without your points" : "the study has grades now";
  const changed = after.findings.filter((one, n) => before.findings[n].grade !== one.grade);
  if (!changed.length) return "no grade is another one";
  const first = changed[0];
  const old = before.findings.find((one) => one.name === first.name);
  const more = changed.length > 1 ? ` and ${changed.length - 1} more` : "";
  return `${first.title} ${titleOf(old.grade)} → ${titleOf(first.grade)}${more}`;
}

// Keys move a point at once in the picture; it is sent when they rest.
async function nudge(columns, rows) {
  const { number } = state;
  const finding = selected;
  if (sending) await queue; // the answer may hold the point that is to be moved
  if (state?.number !== number || selected !== finding) return;
  const after = viewer.nudge(finding, columns, rows);
  if (!after) return say("Choose a finding that has a point first.", "bad");
  state.points[finding] = { ...state.points[finding], position: after };
  viewer.draw();
  clearTimeout(nudging?.timer);
  nudging = { number, request: { what: "point", finding, after }, timer: setTimeout(flushNudge, NUDGE_MS) };
}

async function flushNudge() {
  if (!nudging) return;
  clearTimeout(nudging.timer);
  const { number, request } = nudging;
  nudging = null;
  if (state?.number === number) await change(request);
}

// ---- keys

function stepFinding(by) {
  if (!state?.findings.length) return;
  const all = words.levels.flatMap((level) => words.conditions.map((one) => `${one.id}_${level.id}`));
  const names = all.filter(findingOf);
  const n = names.indexOf(selected);
  select(names[(n + by + names.length) % names.length]);
}

function grade(n) {
  if (state?.placing) say("This study has no grades yet. Place its levels first.", "bad");
  else if (selected) change({ what: "grade", finding: selected, after: n ? words.grades[n - 1].id : null });
}

const KEYS = {
  v: () => viewer.nextVolume(),
  j: () => stepFinding(1),
  k: () => stepFinding(-1),
  1: () => grade(1),
  2: () => grade(2),
  3: () => grade(3),
  0: () => grade(0),
  g: () => findingOf(selected) && viewer.goToPoint(findingOf(selected)),
  c: () => {
    if (!findingOf(selected) || !viewer.shown) return;
    viewer.stopPlacing();
    change({ what: "point", finding: selected, after: viewer.middle() });
  },
  "[": () => byId("up").click(),
  "]": () => byId("down").click(),
  n: () => step(1),
  p: () => step(-1),
  d: () => byId("done").click(),
  u: () => byId("undo").click(),
  "+": () => viewer.scale(1.4),
  "=": () => viewer.scale(1.4),
  "-": () => viewer.scale(1 / 1.4),
  "?": () => byId("keys").showModal(),
};
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

document.addEventListener("keydown", (event) => {
  if (byId("keys").open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return viewer.stopPlacing();
  if (event.target.matches?.("input, select, textarea")) return;
  const arrow = ARROWS[event.key];
  if (arrow && viewer.shown) {
    event.preventDefault();
    if (event.shiftKey) nudge(...arrow);
    else viewer.scroll(arrow[0] + arrow[1]);
  } else if (Object.hasOwn(KEYS, event.key) && (byId("letters").checked || event.key === "?")) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

byId("previous").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("undo").addEventListener("click", () => change({ what: "undo" }));
byId("done").addEventListener("click", () => change({ what: "done", after: !state.done }));
byId("up").addEventListener("click", () => change({ what: "levels", after: "up" }));
byId("down").addEventListener("click", () => change({ what: "levels", after: "down" }));
for (const id of ["regrade", "grade-now"]) byId(id).addEventListener("click", () => change({ what: "regrade" }));
byId("show-keys").addEventListener("click", () => byId("keys").showModal());
byId("text").addEventListener("input", drawList);
byId("filter").addEventListener("input", drawList);
byId("by").addEventListener("input", () => sessionStorage.setItem("by", byId("by").value));
window.addEventListener("focus", () => {
  // Another window may have changed the study.
  if (state && !sending && !nudging) open(state.number);
});

async function start() {
  try {
    const content = await ask("/api/studies");
    words = content;
    studies = content.studies;
    byId("by").value = sessionStorage.getItem("by") ?? content.by;
    const first = { uncertainty: "The most doubtful first. ≈ is how many of the program's grades are expected to be wrong.", name: "By name.", worst: "The worst first, by a reader's grade (✎) where there is one." };
    byId("order").textContent = [first[content.order], ...content.unread].join(" ");
    if (window.matchMedia("(max-width: 899px)").matches) byId("drawer").open = false;
    drawList();
    const next = studies.find((one) => !one.done && !one.refused) ?? studies[0];
    if (next) await open(next.number);
  } catch (error) {
    say(error.message, "bad");
  }
}

start();
