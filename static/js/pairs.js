// Adds and removes query/response pairs of a few-shot prompt. Without this script the form shows one empty pair more, and its
// button sends the form and gets it back with another pair.
//
//   [data-pairs]          around the rows; data-fewest and data-most limit their number
//     [data-pair]         a row; its fields have the same names as those of other rows (query, response)
//       [data-pair-number]   shows the row's number, in which the row's ids, for and aria-... end, too ("query-2")
//       [data-pair-remove]   a button, hidden until this script runs
//     [data-pair-add]     the button

for (const box of document.querySelectorAll("[data-pairs]")) {
  const add = box.querySelector("[data-pair-add]");
  const rows = () => [...box.querySelectorAll("[data-pair]")];
  const fewest = Number(box.dataset.fewest) || 0;
  const most = Number(box.dataset.most) || Infinity;

  const renumber = () => {
    for (const [index, row] of rows().entries()) {
      for (const shown of row.querySelectorAll("[data-pair-number]")) shown.textContent = index + 1;
      for (const element of [row, ...row.querySelectorAll("*")]) {
        for (const name of ["id", "for", "aria-describedby", "aria-labelledby", "aria-controls"]) {
          const value = element.getAttribute(name);
          if (value) element.setAttribute(name, value.replace(/-\d+(?=\s|$)/g, `-${index + 1}`));
        }
      }
      for (const button of row.querySelectorAll("[data-pair-remove]")) button.hidden = rows().length === 1;
    }
    add.hidden = rows().length >= most;
    need();
  };

  // Required are both fields of a pair that was begun, and the first pairs up to the minimum.
  const need = () => {
    let few = fewest - rows().filter(begun).length;
    for (const row of rows()) {
      const needed = begun(row) || few-- > 0;
      for (const field of row.querySelectorAll("input, textarea")) field.required = needed;
    }
  };

  const append = () => {
    const row = rows().at(-1).cloneNode(true);
    for (const field of row.querySelectorAll("input, textarea")) {
      field.value = field.defaultValue = "";
      field.removeAttribute("aria-invalid");
    }
    for (const error of row.querySelectorAll(".errorlist")) error.remove();
    rows().at(-1).after(row);
    renumber();
    return row;
  };

  const begun = (row) => [...row.querySelectorAll("input, textarea")].some((field) => field.value.trim());

  const changed = () => box.closest("form")?.dispatchEvent(new CustomEvent("pairs:changed"));

  add.addEventListener("click", (event) => {
    event.preventDefault();
    append().querySelector("input, textarea").focus();
    changed();
  });

  box.addEventListener("click", (event) => {
    const row = event.target.closest("[data-pair-remove]")?.closest("[data-pair]");
    // The second click of a double click would remove the next pair, which has moved up.
    if (!row || event.detail > 1) return;
    const next = row.nextElementSibling?.matches("[data-pair]") ? row.nextElementSibling : rows().at(-2);
    row.remove();
    renumber();
    next.querySelector("input, textarea").focus();
    changed();
  });

  box.addEventListener("input", need);

  // A restored draft may have another number of pairs.
  box.closest("form")?.addEventListener("draft:restore", ({ detail: body }) => {
    const names = [...rows()[0].querySelectorAll("[name]")].map((field) => field.name);
    const wanted = Math.min(most, Math.max(1, ...names.map((name) => [body[name] ?? []].flat().length)));
    while (rows().length < wanted) append();
    while (rows().length > wanted) rows().at(-1).remove();
    renumber();
  });

  renumber();
}
