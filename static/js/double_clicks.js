// The second click of a double click sends no form. The first click has sent one already, and the second may land on the
// same button of the next page: it would accept the next answer unread. Without this script the server still refuses a
// second decision about the same answer, but not one about the next.
// A plain script in the head, not a module: a module would run after the first paint, and a click may come before that.
document.addEventListener(
  "click",
  (event) => {
    if (event.detail > 1 && event.target.closest("button, input")?.type === "submit") event.preventDefault();
  },
  true,
);
