// Hides fields that another field's choice has no use for. Without it all show, and the server says which are too many.
//
//   [data-only="a b"]   a control of a form: its field shows only while data-only-by is one of these
//   [data-only-by]      the select that they go by
//
// What somebody typed, or what the server complained about, stays in sight.

for (const choice of document.querySelectorAll("select[data-only-by]")) {
  const controls = [...choice.form.querySelectorAll("[data-only]")];
  const show = () => {
    for (const control of controls) {
      const field = control.closest(".field");
      const wanted = control.dataset.only.split(" ").includes(choice.value);
      field.hidden = !wanted && untouched(control) && !field.querySelector(".errorlist");
    }
  };
  choice.addEventListener("change", show);
  show();
}

function untouched(control) {
  if (control.type === "checkbox") return control.checked === control.defaultChecked;
  if (!control.options) return control.value === control.defaultValue;
  const first = [...control.options].find((option) => option.defaultSelected) ?? control.options[0];
  return control.value === first.value;
}
