// A reviewer sends back by keys: Ctrl+Enter in the comment does it, and without a comment nothing is sent and the focus
// goes there. Accepting stays a key of its own (a): nobody accepts by what submits everywhere else. Without it the
// buttons do the same, and the server asks for the comment.

const form = document.querySelector("form[data-decision]");
const comment = form.elements.comment;
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

comment.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.repeat) return;
  event.preventDefault();
  back.click();
});
