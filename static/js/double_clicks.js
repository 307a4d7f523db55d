// The second click of a double click sends no form. The first one has sent it, and the second may meet the button of the
// page that has come meanwhile: it would accept the next answer unread. Without it the server refuses what it can.
// A plain script in the head, not a module: a module would run after the first paint, which a click may meet.
document.addEventListener(
  "click",
  (event) => {
    if (event.detail > 1 && event.target.closest("button, input")?.type === "submit") event.preventDefault();
  },
  true,
);
