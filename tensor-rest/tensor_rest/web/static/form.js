// The form of a model that does not take images: one field for each input, filled in with an example that fits.
import { $, element, say } from "./dom.js";
import * as served from "./served.js";
import { described, example, isSingle, parsed } from "./tensors.js";

let shown = ""; // the signatures the form is made of, as text
let signatures = {};

/** Make the form of a target; typed values are kept if model and signatures are the same. */
export function showForm(target) {
  signatures = served.signaturesOf(target);
  const text = JSON.stringify([served.modelOf(target), signatures]);
  if (text === shown) return;
  shown = text;
  const names = Object.keys(signatures);
  $("signature").replaceChildren(...names.map((each) => new Option(each)));
  $("signature-row").hidden = names.length < 2;
  fields();
  const none = served.trouble(target) || "This model has no signature to call.";
  say($("form-note"), names.length ? "Each field holds an example that fits. Values are JSON; a single row needs no outer brackets." : none);
  for (const id of ["run", "example"]) $(id).disabled = names.length === 0;
}

/** Return {signature, inputs} as typed; null if a field cannot be read, which then shows the reason. */
export function filledIn() {
  const inputs = {};
  let wrong = null;
  for (const [alias, info] of entries()) {
    const field = fieldOf(alias);
    const note = field.parentElement.querySelector(".warning");
    say(note, "");
    field.removeAttribute("aria-invalid");
    try {
      inputs[alias] = parsed(field.value, info);
    } catch (error) {
      say(note, error.message);
      field.setAttribute("aria-invalid", "true");
      wrong ??= field;
    }
  }
  wrong?.focus();
  return wrong ? null : { signature: $("signature").value, inputs };
}

const entries = () => Object.entries(signatures[$("signature").value]?.inputs ?? {});

const fieldOf = (alias) => [...$("fields").querySelectorAll("textarea")].find((field) => field.name === alias);

function fields() {
  $("fields").replaceChildren(...entries().map(([alias, info], index) => field(alias, info, index)));
}

function field(alias, info, index) {
  const area = element("textarea");
  Object.assign(area, { id: `field-${index}`, name: alias, value: example(info), rows: isSingle(info) ? 1 : 4, spellcheck: false });
  const label = element("label", "", alias, element("span", "small", described(info)));
  label.htmlFor = area.id;
  const note = element("p", "warning", area.value ? "" : "Too large for an example; .npy files sent to the REST API suit it better.");
  note.id = `${area.id}-note`;
  note.setAttribute("role", "status");
  area.setAttribute("aria-describedby", note.id);
  return element("div", "field", label, area, note);
}

$("signature").addEventListener("change", fields);
$("example").addEventListener("click", fields);
$("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
});
