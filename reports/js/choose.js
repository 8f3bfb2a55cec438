// Several panels in one place: a list to choose one by, in place of all of them below each other.
(() => {
  document.addEventListener("DOMContentLoaded", () => {
    for (const place of document.querySelectorAll("[data-choose]")) {
      const panels = [...place.querySelectorAll(":scope > details")];
      if (panels.length < 2) {
        place.classList.add("single");
        continue;
      }
      const label = document.createElement("label");
      const select = document.createElement("select");
      label.className = "choose";
      label.append(`${place.dataset.choose} `, select);
      for (const panel of panels) select.append(new Option(panel.dataset.label, panel.id));
      const show = () => {
        for (const panel of panels) {
          panel.hidden = panel.id !== select.value;
          panel.open = !panel.hidden;
        }
      };
      select.addEventListener("change", show);
      place.classList.add("chosen");
      place.prepend(label);
      show();
    }
  });
})();
