// Small helpers for the document, and words for numbers.

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

/** Set the text only if it is another: screen readers say a live region again at each change. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** What this tab keeps over reloads; nothing where the browser forbids it or it is full. */
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
      // It lasts as long as the page.
    }
  },
};

export const milliseconds = (time) => (time >= 10 ? `${Math.round(time)} ms` : `${time.toFixed(1)} ms`);
