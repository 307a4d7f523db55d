// Previews Markdown, rendered by the server. Without this script the rendered text shows only after saving.
//
//   [data-preview-url]   around one textarea, with data-text-write, data-text-preview and data-text-failed: gets two
//                        tabs. The preview tab POSTs `text` there and shows the response; the event `rendered` says so.

import { post } from "./http.js";

for (const [index, box] of [...document.querySelectorAll("[data-preview-url]")].entries()) build(box, index);

function build(box, index) {
  const area = box.querySelector("textarea");
  const focused = document.activeElement === area; // moving a field takes its focus
  const writing = document.createElement("div");
  const preview = document.createElement("div");
  writing.append(...box.childNodes);
  const tabs = document.createElement("div");
  tabs.className = "tabs";
  tabs.setAttribute("role", "tablist");
  const buttons = [
    ["write", writing],
    ["preview", preview],
  ].map(([name, panel]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.id = `preview-${index}-${name}`;
    button.textContent = name === "write" ? box.dataset.textWrite : box.dataset.textPreview;
    button.setAttribute("role", "tab");
    button.setAttribute("aria-controls", `${button.id}-panel`);
    panel.id = `${button.id}-panel`;
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    return button;
  });
  preview.className = "preview";
  preview.tabIndex = 0;
  tabs.append(...buttons);
  box.append(tabs, writing, preview);

  const choose = async (chosen) => {
    for (const [number, button] of buttons.entries()) {
      button.setAttribute("aria-selected", String(number === chosen));
      button.tabIndex = number === chosen ? 0 : -1;
    }
    // The panels keep their height, so that the page below does not jump.
    const height = writing.offsetHeight;
    writing.hidden = chosen === 1;
    preview.hidden = chosen === 0;
    if (chosen === 0) return;
    preview.style.minHeight = `${height}px`;
    const { outcome, text } = await post(box.dataset.previewUrl, new URLSearchParams({ text: area.value }));
    if (outcome === "done") {
      preview.innerHTML = text; // the server's own rendering, cleaned there
      preview.dispatchEvent(new CustomEvent("rendered", { bubbles: true }));
    } else {
      preview.textContent = box.dataset.textFailed;
    }
  };

  tabs.addEventListener("click", (event) => {
    const chosen = buttons.indexOf(event.target);
    if (chosen >= 0) choose(chosen);
  });
  tabs.addEventListener("keydown", (event) => {
    if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    event.preventDefault();
    const chosen = 1 - buttons.indexOf(document.activeElement);
    buttons[chosen].focus();
    choose(chosen);
  });
  // A field that another module focuses must be visible.
  area.addEventListener("wanted", () => choose(0));
  choose(0);
  if (focused) area.focus({ preventScroll: true });
}
