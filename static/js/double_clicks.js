// Ignores the second click of a double click on a submit button. The first click has sent the form, and the second may
// hit the same button of the next page and accept an answer unread. Without this script the server still refuses a
// second decision about the same answer, but not a decision about the next one.
// Not a module: modules run after the first paint, and a click may come earlier.
document.addEventListener(
  "click",
  (event) => {
    if (event.detail > 1 && event.target.closest("button, input")?.type === "submit") event.preventDefault();
  },
  true,
);
