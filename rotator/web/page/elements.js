// Elements of the page and words in it. Text from outside only ever becomes text.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

export function glyph(id, classes) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", classes);
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${id}`);
  svg.append(use);
  return svg;
}

// Replaces an element's content only if it is to change: what a reader has selected stays selected.
export function show(element, key, content) {
  if (element.shown === key) return;
  element.shown = key;
  element.replaceChildren(...[content()].flat().filter((part) => part !== null));
}

export const count = (number, one, many = `${one}s`) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
export const parse = (instant) => (instant === null ? null : Date.parse(instant));
export const utc = (ms) => `${new Date(ms).toISOString().slice(0, 19).replace("T", " ")} UTC`;

// The daemon's clock: what it said last, and when that was on this machine's steady clock.
let said = 0;
let arrived = 0;

export function setClock(ms) {
  said = ms;
  arrived = performance.now();
}

export const now = () => said + (performance.now() - arrived);

export function span(ms) {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129_600) return `${Math.round(seconds / 3600)} h`;
  return count(Math.round(seconds / 86_400), "day");
}

export const relative = (ms) => (ms > now() ? `in ${span(ms - now())}` : `${span(now() - ms)} ago`);

export function instant(ms, text, classes = null) {
  return make("time", { datetime: new Date(ms).toISOString(), title: utc(ms), class: classes }, text);
}

export const none = (meaning) => make("span", { class: "soft", title: meaning }, make("span", { "aria-hidden": "true" }, "–"), make("span", { class: "spoken" }, meaning));

// An error's text, with the commands in it in a form that can be copied.
export function explained(text) {
  const parts = [];
  let end = 0;
  for (const match of text.matchAll(/: (rotator [a-z].*?)(?=[.;,](?:\s|$)|$)/g)) {
    parts.push(text.slice(end, match.index + 2), make("code", {}, match[1]));
    end = match.index + match[0].length;
  }
  return [...parts, text.slice(end)];
}
