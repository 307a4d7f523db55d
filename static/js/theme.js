// Applies the chosen colours before the first paint. Without this script the page follows the system's setting.
// Not a module: modules run after the first paint, and a dark page would flash.
(() => {
  const root = document.documentElement;
  const CHOICES = ["auto", "light", "dark"];
  const SIGNS = { auto: "◐", light: "☀", dark: "☾" };

  const chosen = () => {
    try {
      return CHOICES.includes(localStorage.theme) ? localStorage.theme : "auto";
    } catch {
      return "auto"; // storage is switched off
    }
  };

  const apply = (choice) => {
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
    for (const button of document.querySelectorAll("[data-theme-toggle]")) {
      button.hidden = false;
      button.textContent = SIGNS[choice];
      button.title = button.dataset[`text${choice[0].toUpperCase()}${choice.slice(1)}`];
      button.setAttribute("aria-label", button.title);
    }
  };

  apply(chosen());
  document.addEventListener("DOMContentLoaded", () => apply(chosen()));
  window.addEventListener("storage", () => apply(chosen())); // chosen in another tab
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-theme-toggle]")) return;
    const next = CHOICES[(CHOICES.indexOf(chosen()) + 1) % CHOICES.length];
    try {
      localStorage.theme = next;
    } catch {
      // The choice then applies to this page only.
    }
    apply(next);
  });
})();
