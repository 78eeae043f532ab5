// Sorts, filters and compares the runs of a study's page. Without it all of them can be read.

const table = document.querySelector("#every-run");
const rows = [...table.tBodies[0].rows];
const headings = [...table.tHead.rows[0].cells];
const form = document.querySelector("form.tools");
const compared = document.querySelector("#compared");
document.documentElement.classList.add("scripted");

function make(tag, properties = {}, ...content) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...content);
  return element;
}

function name(row) {
  return `${row.dataset.method}, seed ${row.dataset.seed}`;
}

function cell(row, heading) {
  return row.cells[heading.cellIndex];
}

function tell(also) {
  const shown = rows.filter((row) => !row.hidden).length;
  const counted = `${shown} of ${rows.length} runs shown`;
  form.querySelector("[role=status]").textContent = also ? `${counted}; ${also}` : counted;
}

// --- Sorting ------------------------------------------------------------------------------------

for (const heading of headings) {
  const button = make("button", { type: "button" }, heading.textContent);
  button.onclick = () => sort(heading);
  heading.replaceChildren(button);
}

function sort(heading) {
  const isName = heading === headings[0];
  const before = heading.getAttribute("aria-sort");
  // The first click puts first what is looked for: the highest number, or the first name.
  const ascending = before ? before === "descending" : isName;
  for (const other of headings) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const sign = ascending ? 1 : -1;
  const order = (one, other) => {
    if (isName) return sign * name(one).localeCompare(name(other));
    const [first, second] = [one, other].map((row) => cell(row, heading).dataset.value);
    // What is unknown comes last, whichever the direction.
    if (first === undefined || second === undefined)
      return (first === undefined) - (second === undefined);
    return sign * (first - second);
  };
  table.tBodies[0].append(...[...rows].sort(order));
  tell(`sorted by ${heading.textContent}, ${ascending ? "lowest" : "highest"} first`);
}

// --- Filtering ----------------------------------------------------------------------------------

form.onchange = () => {
  const ticked = [...form.querySelectorAll(":checked")];
  const fits = (row, group) => {
    const own = ticked.filter((box) => box.name === group);
    return !own.length || own.some((box) => box.value === row.dataset[group]);
  };
  for (const row of rows) row.hidden = !fits(row, "method") || !fits(row, "seed");
  tell();
};

// --- Comparing ----------------------------------------------------------------------------------

const SEEDS =
  "Between seeds: the standard deviation of the difference of two runs of one method, estimated " +
  "from all runs. A difference that is no larger may be the seeds’.";

const boxes = rows.map((row) => {
  const box = make("input", { type: "checkbox", onchange: compare });
  box.setAttribute("aria-label", `Compare ${name(row)}`);
  row.prepend(make("td", { className: "pick" }, box));
  return box;
});
headings[0].before(make("th", { className: "pick", scope: "col" }, "Compare"));

function compare() {
  const chosen = rows.filter((_, place) => boxes[place].checked);
  compared.replaceChildren();
  if (chosen.length < 2) return tell(chosen.length ? "tick another run to compare" : "");
  tell(`${chosen.length} side by side below the table`);
  const clear = make("button", { type: "button" }, "Tick none");
  clear.onclick = () => {
    for (const box of boxes) box.checked = false;
    compare();
    boxes[0].focus();
  };
  const folders = chosen.map((row) => `runs/${row.dataset.folder}`).join(" ");
  const command = `python -m evaluator.compare ${folders} --output compare.html`;
  compared.append(
    make("h3", {}, `${chosen.length} runs side by side`),
    make("p", {}, clear),
    make("div", { className: "scroll" }, sideBySide(chosen)),
    make("p", { className: "note" }, chosen.length === 2 ? SEEDS : ""),
    make("div", { className: "traversals" }, ...chosen.map(moved)),
    make("p", { className: "source" }, "In the study’s folder, this tells the settings in which they differ:"),
    make("pre", {}, make("code", {}, command)),
  );
}

function sideBySide(chosen) {
  const isPair = chosen.length === 2;
  const titles = [...chosen.map(name), ...(isPair ? ["Difference", "Between seeds"] : [])];
  const head = make("tr", {}, make("td"));
  for (const title of titles)
    head.append(make("th", { scope: "col", className: "number" }, title));
  const body = make("tbody");
  for (const heading of headings.slice(2)) {
    const cells = chosen.map((row) => cell(row, heading));
    const values = cells.map((one) => one.dataset.value ?? NaN);
    const isScore = "score" in heading.dataset;
    const best = isScore && values.filter((value) => value >= Math.max(...values)).length === 1;
    const line = make("tr", {}, make("th", { scope: "row" }, heading.textContent));
    cells.forEach((one, place) => {
      const isBest = best && Number(values[place]) === Math.max(...values);
      line.append(make("td", { className: `number${isBest ? " best" : ""}` }, one.textContent));
    });
    if (isPair && isScore)
      line.append(
        make("td", { className: "number" }, signed(values[0] - values[1])),
        make("td", { className: "number" }, noise(heading.dataset.noise)),
      );
    body.append(line);
  }
  return make("table", {}, make("thead", {}, head), body);
}

function signed(value) {
  if (Number.isNaN(value)) return "–";
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}

function noise(value) {
  return value === undefined ? "–" : `± ${Number(value).toFixed(3)}`;
}

function moved(row) {
  const drawn = document.getElementById(row.id.replace("run", "moved"))?.cloneNode(true) ?? "";
  if (drawn) drawn.removeAttribute("id");
  return make("div", {}, make("h4", {}, name(row)), drawn);
}

// --- Links into what is folded ------------------------------------------------------------------

function unfold() {
  const target = document.getElementById(location.hash.slice(1));
  const folded = target?.closest("details:not([open])");
  if (!folded) return;
  folded.open = true;
  target.scrollIntoView();
}

addEventListener("hashchange", unfold);
// A browser may have ticked boxes that were ticked before.
form.onchange();
unfold();
