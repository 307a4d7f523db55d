// Sets the colours a person chose before the page is painted. Without it the page follows the system's setting.
// A plain script in the head, not a module: a module would run after the first paint, and a dark room would flash.
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
      // It holds for this page then.
    }
    apply(next);
  });
})();
