// Light or dark: the reader's system decides until the button is used; the choice is kept if the
// browser lets a file keep anything.
(() => {
  const root = document.documentElement;
  const keep = {
    get() { try { return localStorage.getItem("theme"); } catch { return null; } },
    set(value) { try { localStorage.setItem("theme", value); } catch { /* not kept, still shown */ } },
  };
  const kept = keep.get();
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;

  const isDark = () =>
    (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";

  document.addEventListener("DOMContentLoaded", () => {
    const place = document.getElementById("theme-place");
    if (!place) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "theme";
    const say = () => { button.textContent = isDark() ? "Light page" : "Dark page"; };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      keep.set(root.dataset.theme);
      say();
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", say);
    say();
    place.append(button);
  });
})();
