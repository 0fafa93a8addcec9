// What is shown is made anew at each tick, and only what differs is carried over
// into the document: focus, selection, open details and scroll positions stay.
// Text gets in as text nodes only; the policy of the page forbids anything else.

const SVG = "http://www.w3.org/2000/svg";

// Control characters and marks of direction: a name with them could pass for another.
const UNPRINTABLE = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

function clean(text) {
  return String(text).replace(UNPRINTABLE, "?");
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, clean(value));
  }
  for (const child of children.flat(4)) {
    if (child == null || child === false) continue;
    element.append(child instanceof Node ? child : clean(child));
  }
  return element;
}

const h = (name, attributes, ...children) =>
  fill(document.createElement(name), attributes, children);
const s = (name, attributes, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

// A name from the node: a file system, a task, a device. In its own element, so that
// its direction of writing does not turn the text beside it.
function name(text, most = 120) {
  const whole = clean(text ?? "");
  return h("bdi", { title: whole.length > most && whole.slice(0, 1000) }, clip(whole, most));
}

function clip(text, most) {
  const letters = Array.from(clean(text).slice(0, 2 * most + 2));
  return letters.length > most ? letters.slice(0, most - 1).join("") + "…" : letters.join("");
}

function morph(old, fresh) {
  const same = old.nodeType === fresh.nodeType && old.nodeName === fresh.nodeName
    && old.dataset?.key === fresh.dataset?.key;
  if (!same) return old.replaceWith(fresh);
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  for (const { name, value } of [...fresh.attributes]) {
    if (keeps(old, name)) continue;
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !keeps(old, name)) old.removeAttribute(name);
  }
  morphChildren(old, fresh);
}

// Whether details are open is the reader's to say.
const keeps = (element, attribute) => attribute === "open" && element.nodeName === "DETAILS";

function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) {
    if (child.dataset.key) keyed.set(child.dataset.key, child);
  }
  let at = old.firstChild;
  for (const want of [...fresh.childNodes]) {
    const key = want.dataset?.key;
    const have = key ? keyed.get(key) : at;
    if (!have || (!key && have.dataset?.key)) {
      old.insertBefore(want, at);
      continue;
    }
    keyed.delete(key);
    if (have === at) at = at.nextSibling;
    else if (old.moveBefore) old.moveBefore(have, at);
    else old.insertBefore(have, at);
    morph(have, want);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

// Puts new children in the place of those that an element has.
function show(element, ...children) {
  morphChildren(element, fill(document.createElement(element.nodeName), {}, children));
}
