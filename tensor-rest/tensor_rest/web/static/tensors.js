// Inputs of a signature in the form: an example for each field, and the JSON value of what was typed.

const MAX_VALUES = 4096; // an example writes out at most so many values

const sizesOf = ({ shape }) => (shape ?? [1]).map((size) => Math.max(size, 1));

/** Whether one value is enough, so that it can be typed without brackets. */
export const isSingle = (info) => sizesOf(info).every((size) => size === 1);

/** "float [any, 28, 28]": the type and the shape in words. */
export function described({ dtype, shape }) {
  if (shape === null) return `${dtype}, any shape`;
  return shape.length ? `${dtype} [${shape.map((size) => (size < 0 ? "any" : size)).join(", ")}]` : dtype;
}

/** A text that the input accepts, with one row if their number is open; "" if it would be too long to read. */
export function example(info) {
  const sizes = sizesOf(info);
  if (sizes.reduce((all, size) => all * size, 1) > MAX_VALUES) return "";
  const value = { string: "text", bool: false, float: 1.0, double: 1.0, half: 1.0 }[info.dtype] ?? 1;
  if (isSingle(info)) return String(value);
  return JSON.stringify(sizes.reduceRight((inner, size) => Array(size).fill(inner), value));
}

/**
 * The value of a field's text: JSON, a list without its outer brackets, or plain text for an input of strings. A value
 * with fewer dimensions than the input is one row of it. Throws an Error that says what was expected.
 */
export function parsed(text, info) {
  const value = info.dtype === "string" ? texts(text) : numbers(text, info);
  let missing = (info.shape?.length ?? 0) - depth(value);
  let wrapped = value;
  while (missing-- > 0) wrapped = [wrapped];
  return wrapped;
}

function texts(text) {
  const trimmed = text.trim();
  if (!/^[[{"]/.test(trimmed)) return text;
  try {
    return JSON.parse(trimmed);
  } catch {
    return text; // a text may begin with a bracket
  }
}

function numbers(text, info) {
  const trimmed = text.trim();
  for (const written of [trimmed, `[${trimmed}]`]) {
    try {
      if (trimmed) return JSON.parse(written);
    } catch {
      // tried with brackets around it, or refused below
    }
  }
  const wanted = isSingle(info) ? "a value such as" : "a JSON list such as";
  throw new Error(`expected ${wanted} ${example(info).slice(0, 60) || "[[0, 0]]"} (${described(info)})`);
}

const depth = (value) => (Array.isArray(value) ? 1 + (value.length ? depth(value[0]) : 0) : 0);
