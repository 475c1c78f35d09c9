// Small helpers for the document, and the format of times.

export const $ = (id) => document.getElementById(id);

/** A new element; `children` are nodes or text. */
export function element(tag, name = "", ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

/** A new button that calls `pressed`. */
export function button(name, pressed, ...children) {
  const made = element("button", name, ...children);
  made.type = "button";
  made.addEventListener("click", pressed);
  return made;
}

/** Set the text only if it differs: screen readers read a live region again at each change. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Values that this tab keeps over reloads; none where the browser forbids it or the storage is full. */
export const store = {
  get(name) {
    try {
      return sessionStorage.getItem(name);
    } catch {
      return null;
    }
  },
  set(name, value) {
    try {
      sessionStorage.setItem(name, value);
    } catch {
      // The value is lost at the next reload.
    }
  },
};

export const milliseconds = (time) => (time >= 10 ? `${Math.round(time)} ms` : `${time.toFixed(1)} ms`);
