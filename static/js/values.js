// Reads a form as plain values, {name: text} or {name: [texts]}, and writes them back. Skips hidden inputs.

export function fields(form) {
  const unwanted = ["hidden", "file", "submit", "button", "reset", "password"];
  return [...form.elements].filter((field) => field.name && !field.disabled && !unwanted.includes(field.type));
}

/** {name: text}, or a list of texts where several fields, or choices, have one name. */
export function collect(form) {
  const found = fields(form);
  const body = {};
  for (const field of found) {
    const many =
      field.type === "checkbox" ||
      field.type === "select-multiple" ||
      (field.type !== "radio" && found.filter((other) => other.name === field.name).length > 1);
    if (many) body[field.name] ??= [];
    const values = valuesOf(field);
    if (many) body[field.name].push(...values);
    else if (values.length) [body[field.name]] = values;
  }
  return body;
}

/** Whether the field differs from its value at page load. */
export function differs(field) {
  if (field.type === "radio" || field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.tagName !== "SELECT") return field.value !== field.defaultValue;
  const options = [...field.options];
  // Without a marked option the browser selects the first.
  if (!options.some((option) => option.defaultSelected)) return field.selectedIndex > 0;
  return options.some((option) => option.selected !== option.defaultSelected);
}

function valuesOf(field) {
  if (field.type === "radio" || field.type === "checkbox") return field.checked ? [field.value] : [];
  if (field.type === "select-multiple") return [...field.selectedOptions].map((option) => option.value);
  return [field.value];
}

export function fill(form, body) {
  // Modules that add fields (pairs.js) add one for each text.
  form.dispatchEvent(new CustomEvent("draft:restore", { detail: body }));
  const left = Object.fromEntries(Object.entries(body).map(([name, value]) => [name, [value].flat()]));
  for (const field of fields(form)) {
    const values = left[field.name] ?? [];
    if (field.type === "radio" || field.type === "checkbox") field.checked = values.includes(field.value);
    else if (field.type === "select-multiple") {
      for (const option of field.options) option.selected = values.includes(option.value);
    } else field.value = values.shift() ?? "";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    field.dispatchEvent(new Event("change", { bubbles: true }));
  }
}

/** Without empty fields at the end, whose number differs between pages. */
export function same(one, other) {
  const filled = (texts) => texts.slice(0, texts.findLastIndex((text) => text !== "") + 1);
  const plain = (body) =>
    JSON.stringify(
      Object.entries(body)
        .map(([name, value]) => [name, filled([value].flat())])
        .filter(([, values]) => values.length)
        .sort(([a], [b]) => (a < b ? -1 : 1)),
    );
  return plain(one) === plain(other);
}

/** As text to copy: the text of a single field, or of several fields with their names. */
export function asText(body) {
  const lines = Object.entries(body)
    .flatMap(([name, value]) => [value].flat().map((text) => [name, text]))
    .filter(([, text]) => text.trim());
  if (lines.length === 1) return lines[0][1];
  return lines.map(([name, text]) => `${name}: ${text}`).join("\n\n");
}
