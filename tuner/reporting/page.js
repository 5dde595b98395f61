const told = JSON.parse(document.getElementById("data").textContent);
for (const [name, spec] of Object.entries(told.figures)) {
  const place = document.querySelector(`#${name} .chart`);
  vegaEmbed(place, spec, { actions: { export: true, source: false, compiled: false, editor: false }, renderer: "svg" });
}
const table = document.getElementById("trials");
let sorted = { column: -1, down: false };
function fill(rows) {
  const body = table.tBodies[0];
  body.replaceChildren();
  for (const row of rows) {
    const line = body.insertRow();
    for (const value of row) {
      const cell = line.insertCell();
      cell.textContent = value === null ? "" : value;
      if (typeof value === "string") cell.className = "words";
    }
  }
}
function compare(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  return typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
}
function sort(column) {
  sorted = { column, down: sorted.column === column && !sorted.down };
  const sign = sorted.down ? -1 : 1;
  const rows = [...told.rows].sort((a, b) =>
    a[column] === null || b[column] === null ? compare(a[column], b[column]) : sign * compare(a[column], b[column]));
  fill(rows);
  [...table.tHead.rows[0].cells].forEach((cell, place) =>
    cell.setAttribute("aria-sort", place !== column ? "none" : sorted.down ? "descending" : "ascending"));
}
const head = table.tHead.insertRow();
told.columns.forEach((name, column) => {
  const button = document.createElement("button");
  button.textContent = name;
  button.onclick = () => sort(column);
  const cell = document.createElement("th");
  cell.append(button);
  head.append(cell);
});
fill(told.rows);
