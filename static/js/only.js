// Hides fields that do not apply to the current choice. Without this script all fields show, and the server refuses
// those that do not apply.
//
//   [data-only="a b"]   a control; its field shows only while the select has one of these values
//   [data-only-by]      the select
//
// A field with typed text or with an error stays visible.

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
