"use strict";
// Tables that sort, and downloads of what the page holds. Without scripts the page is complete, only still.

const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function key(cell) {
  const text = cell.textContent.trim();
  const number = text.match(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/i);
  return { text, number: number ? Number(number[0]) : text === "n/a" ? -Infinity : NaN };
}

function compare(a, b) {
  if (!Number.isNaN(a.number) && !Number.isNaN(b.number)) return a.number === b.number ? 0 : a.number - b.number;
  return collator.compare(a.text, b.text);
}

function sort(th) {
  const body = th.closest("table").tBodies[0];
  const column = th.cellIndex;
  const down = th.getAttribute("aria-sort") === "descending" ? 1 : -1; // the largest first
  for (const other of th.parentNode.cells) other.removeAttribute("aria-sort");
  th.setAttribute("aria-sort", down === 1 ? "ascending" : "descending");
  const rows = Array.from(body.rows, (row) => ({ row, at: key(row.cells[column]) }));
  rows.sort((a, b) => down * compare(a.at, b.at));
  body.append(...rows.map((one) => one.row));
}

for (const th of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = th.textContent;
  button.addEventListener("click", () => sort(th));
  th.replaceChildren(button);
}

function download(name, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function asCsv(table) {
  // a spreadsheet would run a text that begins like a formula
  const inert = (text) => (/^[=+@-]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text);
  const quoted = (cell) => `"${inert(cell.textContent.trim()).replaceAll('"', '""')}"`;
  return Array.from(table.rows, (row) => Array.from(row.cells, quoted).join(",")).join("\n") + "\n";
}

function asSvg(svg) {
  const copy = svg.cloneNode(true);
  copy.removeAttribute("aria-hidden");
  copy.setAttribute("style", "background: #fff; color: #000");
  const text = new XMLSerializer().serializeToString(copy);
  return text.replace(/var\(--c\d, (#\w+)\)/g, "$1").replaceAll("currentColor", "#000");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { svg, csv, table, json } = button.dataset;
  const figure = button.closest("figure");
  if (svg) download(`${svg}.svg`, "image/svg+xml", asSvg(figure.querySelector("svg")));
  if (csv) download(`${csv}.csv`, "text/csv", button.closest("div").nextElementSibling.content.textContent);
  if (table) download(`${table}.csv`, "text/csv", asCsv(button.parentNode.nextElementSibling.querySelector("table")));
  if (json) download(`${json}.json`, "application/json", button.closest("details").querySelector("pre").textContent);
});

addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
