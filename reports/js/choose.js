// Several panels in one place: a list to choose one by, in place of all of them below each other.
// Lists of the same name within one outer choice move together: another unit, the same metric.
(() => {
  const choices = [];

  const show = (choice) => {
    for (const panel of choice.panels) {
      panel.hidden = panel.id !== choice.select.value;
      panel.open = !panel.hidden;
    }
  };

  const follow = (first) => {
    const label = first.select.selectedOptions[0].text;
    const outer = first.place.parentElement.closest("[data-choose]");
    for (const choice of choices) {
      const option = [...choice.select.options].find((one) => one.text === label);
      if (choice !== first && outer && option && choice.name === first.name
          && outer.contains(choice.place)) {
        choice.select.value = option.value;
        show(choice);
      }
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    for (const place of document.querySelectorAll("[data-choose]")) {
      const panels = [...place.querySelectorAll(":scope > details")];
      if (panels.length < 2) {
        place.classList.add("single");
        if (panels.length) panels[0].open = true;
        continue;
      }
      const label = document.createElement("label");
      const select = document.createElement("select");
      const choice = { place, panels, select, name: place.dataset.choose };
      label.className = "choose";
      label.append(`${choice.name} `, select);
      for (const panel of panels) select.append(new Option(panel.dataset.label, panel.id));
      select.addEventListener("change", () => { show(choice); follow(choice); });
      place.classList.add("chosen");
      place.prepend(label);
      choices.push(choice);
      show(choice);
    }
  });
})();
