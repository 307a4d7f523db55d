// Focuses a field and scrolls it to the middle of the window, where no sticky bar covers it. Without this script the
// browser scrolls only as far as it must.

/** Focuses the field, and scrolls until `shown` (the field itself, or what names it) is in sight. */
export function pointAt(field, shown = field) {
  field.focus({ preventScroll: true });
  // Of what is higher than the room for it, the beginning counts.
  const block = shown.getBoundingClientRect().height > innerHeight / 2 ? "start" : "center";
  const scroll = () => shown.scrollIntoView({ block, behavior: "instant" });
  scroll();
  // If a smooth scroll was running, Chromium adds to the new position what that scroll did since the last frame. The first
  // call ends the smooth scroll, so a second one reaches the right position.
  requestAnimationFrame(() => requestAnimationFrame(scroll));
}
