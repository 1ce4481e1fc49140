// Making elements, and telling whether what they show has changed.

/** Make an element: properties, then children. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.setAttribute('aria-hidden', 'true');
  svg.append(use);
  return svg;
}

const seen = new Map();

/** Whether what a panel shows has changed since it was last drawn. */
export function isNew(panel, parts) {
  const before = seen.get(panel);
  seen.set(panel, parts);
  return !before || before.length !== parts.length || parts.some((part, index) => part !== before[index]);
}

export const percent = (value) => `${Math.round(100 * Math.min(Math.max(value, 0), 1))} %`;
