"use strict";
// Filters and sorts the table of studies. The rows are in the page already: without this script, it is whole.
const table = document.getElementById("table");
const body = table.tBodies[0];
let rows = Array.from(body.rows);
const MOST = 300; // browsers take seconds to lay out thousands of rows again
let all = false;
const [text, status, condition, flag, count] = ["text", "status", "condition", "flag", "count"].map((id) => document.getElementById(id));

function grade(row) {
  if (condition.value === "") return Number(row.dataset.worst);
  const cell = row.cells[Number(condition.value) + 1];
  return Math.floor(Number(cell.dataset.rank));
}

function shown(row) {
  const refused = "refused" in row.dataset;
  if (!row.dataset.study.toLowerCase().includes(text.value.trim().toLowerCase())) return false;
  if (flag.value !== "" && !row.dataset.flags.split(" ").includes(flag.value)) return false;
  if (status.value === "refused") return refused;
  if (status.value === "") return true;
  if (refused) return false;
  return status.value === "0" ? grade(row) === 0 : grade(row) >= Number(status.value);
}

function filter() {
  let visible = 0;
  for (const row of rows) {
    row.hidden = !shown(row);
    visible += row.hidden ? 0 : 1;
    row.classList.toggle("rest", !all && visible > MOST); // on paper, they are there
  }
  more.hidden = all || visible <= MOST;
  more.textContent = `Show all ${visible}`;
  const found = visible === rows.length ? `all ${rows.length}` : `${visible} of ${rows.length}`;
  count.textContent = more.hidden ? `${found} shown` : `the first ${MOST} of ${visible} shown`;
}

function value(row, key) {
  if (key === "study") return row.dataset.study;
  if ("refused" in row.dataset) return -2;
  return key === "unseen" ? Number(row.dataset.unseen) : Number(row.cells[Number(key) + 1].dataset.rank);
}

function sort(header) {
  const key = header.dataset.key;
  const first = key === "study" ? "ascending" : "descending";
  const other = first === "ascending" ? "descending" : "ascending";
  const direction = header.getAttribute("aria-sort") === first ? other : first;
  for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const sign = direction === "ascending" ? 1 : -1;
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const sorted = rows.map((row) => [value(row, key), row]);
  sorted.sort((a, b) => sign * (typeof a[0] === "string" ? compare(a[0], b[0]) : a[0] - b[0]));
  rows = sorted.map((pair) => pair[1]);
  body.remove(); // browsers move rows of a shown table one by one
  filter();
  body.append(...rows);
  table.append(body);
}

for (const header of table.tHead.rows[0].cells) {
  if (header.dataset.key === undefined) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = header.textContent;
  button.addEventListener("click", () => sort(header));
  header.replaceChildren(button);
}
const more = document.getElementById("more");
more.addEventListener("click", () => {
  all = true;
  filter();
});
for (const input of [text, status, condition, flag]) input.addEventListener("input", filter);
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
document.getElementById("filters").hidden = false;
filter();
