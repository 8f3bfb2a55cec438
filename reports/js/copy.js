// Commands can be copied; where the browser forbids it, they are selected instead.
(() => {
  document.addEventListener("DOMContentLoaded", () => {
    for (const place of document.querySelectorAll(".command")) {
      const code = place.querySelector("code");
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      button.addEventListener("click", async () => {
        try {
          await navigator.clipboard.writeText(code.textContent);
          button.textContent = "Copied";
        } catch {
          getSelection().selectAllChildren(code);
          button.textContent = "Selected";
        }
        setTimeout(() => { button.textContent = "Copy"; }, 2000);
      });
      place.append(button);
    }
  });
})();
