// Sortable tables: a heading with data-first becomes a button. Cells sort by data-order, numbers
// before words, by their text where they have none; what is undefined stays last in either
// direction.
(() => {
  const other = { ascending: "descending", descending: "ascending" };

  const compare = (a, b, direction) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    const numbers = [Number(a), Number(b)];
    const order = numbers.some(Number.isNaN) ? a.localeCompare(b) : numbers[0] - numbers[1];
    return direction === "ascending" ? order : -order;
  };

  const sort = (table, heading, status) => {
    const direction = other[heading.getAttribute("aria-sort")] || heading.dataset.first;
    for (const each of heading.parentElement.children) each.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
    const key = (row) => {
      const cell = row.cells[heading.cellIndex];
      const text = cell.textContent.trim();
      return cell.dataset.order ?? (text === "n/a" ? "" : text.replace("\u2212", "-"));
    };
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compare(key(a), key(b), direction));
    table.tBodies[0].append(...rows);
    status.textContent = `Sorted by ${heading.querySelector("button").textContent}, ${direction}`;
  };

  document.addEventListener("DOMContentLoaded", () => {
    const status = document.createElement("p");
    status.className = "sr";
    status.setAttribute("role", "status");
    (document.querySelector("main") || document.body).append(status);
    for (const table of document.querySelectorAll("table[data-sortable]")) {
      for (const heading of table.querySelectorAll("th[data-first]")) {
        const label = heading.querySelector(".sort");
        const button = document.createElement("button");
        button.type = "button";
        button.className = "sort";
        button.append(...label.childNodes);
        button.addEventListener("click", () => sort(table, heading, status));
        label.replaceWith(button);
      }
    }
  });
})();
