// Elements made by hand: no framework, and no HTML out of strings, so nothing that a name says can become markup.

const SVG = 'http://www.w3.org/2000/svg';

/** An HTML element. `on…` are listeners, `style` an object, `null`, `undefined` and `false` attributes are left out. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name === 'style') for (const [key, part] of Object.entries(value)) element.style.setProperty(key, part);
    else if (name === 'value' || name === 'checked' || name === 'selected') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(3).filter(child => child !== null && child !== undefined && child !== false));
  if (tagHasValue(element) && attributes?.value !== undefined && attributes.value !== null)
    element.value = attributes.value;
  return element;
}

// A select takes its value only once its options are there.
const tagHasValue = element => element.tagName === 'SELECT';

/** Puts `children` in place of what is in `element`. */
export function put(element, ...children) {
  element.replaceChildren(
    ...children.flat(3).filter(child => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Sets an attribute only where it differs: the browser lays out and announces less. */
export function set(element, name, value) {
  const text = String(value);
  if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** Sets text only where it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

let last = 0;

/** An id for labels that name their field. */
export function fresh(prefix) {
  last += 1;
  return `${prefix}-${last}`;
}

const ICONS = {
  map: 'M3 6l6-2 6 2 6-2v14l-6 2-6-2-6 2zM9 4v14M15 6v14',
  nearby:
    'M12 13a1 1 0 1 0 0-2 1 1 0 0 0 0 2zM8.5 15.5a5 5 0 0 1 0-7M15.5 8.5a5 5 0 0 1 0 7M5.6 18.4a9 9 0 0 1 0-12.8M18.4 5.6a9 9 0 0 1 0 12.8',
  zones: 'M5 7l8-3 6 5-2 9-11 2z',
  beacons: 'M12 3l7 4v10l-7 4-7-4V7zM12 10a2 2 0 1 0 0 4 2 2 0 0 0 0-4z',
  devices: 'M8 3h8a1 1 0 0 1 1 1v16a1 1 0 0 1-1 1H8a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zM11 18h2',
  receivers: 'M12 12v9M8 21h8M8.5 8.5a5 5 0 0 1 7 0M6 6a8.5 8.5 0 0 1 12 0M12 12h.01',
  triggers: 'M13 2L5 13h6l-1 9 8-12h-6z',
  events: 'M4 6h16M4 12h16M4 18h10',
  playback: 'M12 21a9 9 0 1 0-9-9M3 12l-1.5-3M3 12l3-1.5M12 7v5l3 2',
  health: 'M3 12h4l3-7 4 14 3-7h4',
  transfer: 'M7 4v13M7 4L4 7M7 4l3 3M17 20V7M17 20l3-3M17 20l-3-3',
  history: 'M9 7H4V2M4 7a9 9 0 1 1-1 6',
  access: 'M15 9a4 4 0 1 1-3 3.9L4 20l0-3 2-1 0-2 2-1 3-2.5A4 4 0 0 1 15 5z',
  setup: 'M4 7l2 2 3-4M4 17l2 2 3-4M12 7h8M12 17h8',
  menu: 'M4 7h16M4 12h16M4 17h16',
  sun: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2',
  moon: 'M20 14A8.5 8.5 0 0 1 10 4a8.5 8.5 0 1 0 10 10z',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  fit: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  grid: 'M4 9h16M4 15h16M9 4v16M15 4v16',
  magnet: 'M6 4v8a6 6 0 0 0 12 0V4h-4v8a2 2 0 0 1-4 0V4zM6 8h4M14 8h4',
  rectangle: 'M4 6h16v12H4z',
  polygon: 'M5 9l8-5 6 6-3 9-9-1z',
  circle: 'M12 4a8 8 0 1 0 0 16 8 8 0 0 0 0-16z',
  plan: 'M4 4h16v16H4zM4 15l5-4 4 3 3-2 4 3M9 8h.01',
  outline: 'M4 4h10v6h6v10H4z',
  undo: 'M9 14L4 9l5-5M4 9h10a6 6 0 0 1 0 12h-3',
  redo: 'M15 14l5-5-5-5M20 9H10a6 6 0 0 0 0 12h3',
  close: 'M6 6l12 12M18 6L6 18',
  check: 'M5 12l5 5 9-10',
  warning: 'M12 4L2.5 20h19zM12 10v4M12 17h.01',
  out: 'M10 4H5v16h5M14 8l4 4-4 4M18 12H9',
};

/** A line icon; hidden from screen readers, because what it stands in is labelled. */
export function icon(name) {
  return svg(
    'svg',
    { viewBox: '0 0 24 24', class: 'icon', 'aria-hidden': 'true', focusable: 'false' },
    svg('path', { d: ICONS[name] }),
  );
}
