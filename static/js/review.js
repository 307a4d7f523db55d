// Keys for reviewers. Ctrl+Enter in the comment sends the answer back; without a comment it only focuses the comment.
// Ctrl+Shift+Enter accepts: a key that submits nothing elsewhere, so nobody accepts by habit. No single letter decides,
// because it may belong to the comment. Without this script the buttons do the same, and the server requires a comment.
//
//   [data-accept], [data-send-back]   the buttons

const form = document.querySelector("form[data-decision]");
const comment = form.elements.comment;
const accept = form.querySelector("[data-accept]");
const back = form.querySelector("[data-send-back]");
const missing = form.querySelector("[data-comment-missing]");

back.addEventListener("click", (event) => {
  if (comment.value.trim() || form.noValidate) return;
  event.preventDefault();
  missing.hidden = false;
  comment.setAttribute("aria-invalid", "true");
  comment.setAttribute("aria-describedby", missing.id);
  comment.focus();
});

comment.addEventListener("input", () => {
  missing.hidden = true;
  comment.removeAttribute("aria-invalid");
});

document.addEventListener("keydown", (event) => {
  if (event.isComposing || event.keyCode === 229 || event.repeat || document.querySelector("dialog[open]")) return;
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.altKey) return;
  if (!event.shiftKey && event.target !== comment) return;
  event.preventDefault();
  (event.shiftKey ? accept : back).click();
});
