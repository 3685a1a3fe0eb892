// Elements made in code. Text is only ever set as text: names of classes are other people's.

const SVG = "http://www.w3.org/2000/svg";

export const find = (id) => document.getElementById(id);

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name, value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== null && value !== undefined && value !== false) {
      node.setAttribute(name, String(value));
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element; a function among the attributes listens to the event of that name. */
export function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Set text only where it differs, so that neither selection nor screen reader is disturbed. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Set attributes only where they differ; null removes one. */
export function set(node, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null) node.removeAttribute(name);
    else if (node.getAttribute(name) !== String(value)) node.setAttribute(name, String(value));
  }
}

/** Disable a button in a way that leaves the focus on it. */
export function disable(button, isDisabled) {
  set(button, { "aria-disabled": isDisabled ? "true" : null });
}

// Before any other listener hears of it.
document.addEventListener(
  "click",
  (event) => {
    if (event.target.closest("[aria-disabled]") === null) return;
    event.stopImmediatePropagation();
    event.preventDefault();
  },
  true,
);

/** A name from outside, apart from the writing direction of the text around it. */
export function named(name) {
  return element("bdi", {}, name);
}

/**
 * Make the children of `parent` those of `items`, in this order. Children are kept by key, so
 * that focus and pointer stay where they are.
 */
export function keyed(parent, items, keyOf, make, update = () => {}) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    let child = old.get(key);
    old.delete(key);
    if (child === undefined) {
      child = make(item);
      child.dataset.key = key;
    }
    update(child, item);
    if (child === place) place = place.nextElementSibling;
    else parent.insertBefore(child, place);
  }
  for (const child of old.values()) child.remove();
}

/** The sign of a kind of decision: a shape, so that colour is never the only sign. */
export function sign(kind, size = 16) {
  const known = document.getElementById(`sign-${kind}`) ? kind : "other";
  return svg(
    "svg",
    { class: `sign ${known}`, width: size, height: size, "aria-hidden": "true" },
    svg("use", { href: `#sign-${known}` }),
  );
}
