// Shows the output tensors of an answer: as a value, a table, or JSON.
import { element } from "./dom.js";

const MAX_ROWS = 20;
const MAX_COLUMNS = 12;
const MAX_TEXT = 20_000; // characters of JSON

/** A node for each output of `outputs` {alias: value}. */
export function outputNodes(outputs) {
  return Object.entries(outputs).map(([alias, value]) => {
    return element("section", "output", element("h4", "small", `${alias}${shapeText(value)}`), valueNode(value));
  });
}

function valueNode(value) {
  const only = single(value);
  if (only !== undefined) return element("p", "value", written(only));
  const rows = Array.isArray(value[0]) ? value : [value];
  const flat = rows.every((row) => Array.isArray(row) && row.length <= MAX_COLUMNS && row.every((cell) => !isNested(cell)));
  return flat && rows.length <= MAX_ROWS ? table(rows) : json(value);
}

function table(rows) {
  const made = rows.map((row) => element("tr", "", ...row.map((cell) => element("td", "", written(cell)))));
  return scrolled(element("table", "", element("tbody", "", ...made)));
}

function json(value) {
  const text = JSON.stringify(value);
  const cut = text.length > MAX_TEXT ? `${text.slice(0, MAX_TEXT)} … (${text.length} characters in all)` : text;
  return scrolled(element("pre", "", cut));
}

/** A box that can be scrolled, also with the keyboard, if its content is larger. */
function scrolled(node) {
  const made = element("div", "scrolled", node);
  made.tabIndex = 0;
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", "Values");
  return made;
}

const isNested = (value) => typeof value === "object" && value !== null;

function single(value) {
  if (!Array.isArray(value)) return value;
  return value.length === 1 ? single(value[0]) : undefined;
}

function written(value) {
  if (value === null) return "null (not a finite number)";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(6)));
  return isNested(value) ? JSON.stringify(value) : String(value);
}

function shapeText(value) {
  const sizes = [];
  for (let at = value; Array.isArray(at); at = at[0]) sizes.push(at.length);
  return sizes.length ? ` [${sizes.join(", ")}]` : "";
}
