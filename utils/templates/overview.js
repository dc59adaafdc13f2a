"use strict";
document.documentElement.classList.add("js");
const body = document.querySelector("table.fakes tbody");
const rows = Array.from(body ? body.rows : []);
const search = document.getElementById("search");
const verdict = document.getElementById("verdict");
const order = document.getElementById("order");
const shown = document.getElementById("shown");

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    const text = row.dataset.text.toLowerCase();
    const fits = words.every((word) => text.includes(word))
      && (!verdict.value || row.dataset.verdict.split(" ").includes(verdict.value));
    row.hidden = !fits;
    count += fits;
  }
  shown.textContent = `${count} of ${rows.length} shown`;
}

function sort(column, ascending) {
  const key = (row) => row.cells[column].dataset.value;
  const sign = ascending ? 1 : -1;
  rows.sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (!x || !y) return (x ? 0 : 1) - (y ? 0 : 1);  // empty cells last, whatever the direction
    const difference = x - y;
    return sign * (Number.isNaN(difference) ? x.localeCompare(y, undefined, {numeric: true})
      : difference);
  });
  body.append(...rows);
  document.querySelectorAll("table.fakes th").forEach((head, index) => {
    if (index === column) head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    else head.removeAttribute("aria-sort");
  });
}

document.querySelectorAll("table.fakes th button").forEach((button) => {
  const head = button.parentElement;
  button.addEventListener("click",
    () => sort(head.cellIndex, head.getAttribute("aria-sort") !== "ascending"));
});
order.addEventListener("change", () => {
  const [column, direction] = order.value.split(" ");
  sort(Number(column), direction === "up");
});
search.addEventListener("input", filter);
verdict.addEventListener("change", filter);
filter();
