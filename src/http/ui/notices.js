// What is said aside: short notices, and what a screen reader is told.

import { h, put } from './dom.js';
import { t } from './i18n.js';

const SHOWN_MS = 6000;

const polite = h('div', { class: 'sr', 'aria-live': 'polite', role: 'status' });
const notices = h('div', { class: 'notices', role: 'region' });

/** The places for both; once in the page. */
export function places() {
  notices.setAttribute('aria-label', t('notices'));
  return [polite, notices];
}

/** Tells a screen reader. */
export function announce(text) {
  polite.textContent = '';
  // The same text twice is only read again where it was gone in between.
  requestAnimationFrame(() => {
    polite.textContent = text;
  });
}

/** Shows a short notice, with at most one button. */
export function notice(text, { kind = 'good', action, label } = {}) {
  const close = () => element.remove();
  const element = h(
    'div',
    { class: `notice ${kind}` },
    h('p', null, text),
    action &&
      h(
        'button',
        {
          type: 'button',
          class: 'plain',
          onclick: () => {
            close();
            action();
          },
        },
        label,
      ),
    h('button', { type: 'button', class: 'plain', 'aria-label': t('close'), onclick: close }, '×'),
  );
  notices.append(element);
  announce(text);
  while (notices.children.length > 3) notices.firstChild.remove();
  setTimeout(close, action ? SHOWN_MS * 2 : SHOWN_MS);
}

/** The box of a failed request: what is wrong, line by line, and what to do. */
export function problemBox(problem) {
  const lines = (problem.errors ?? []).map(error => {
    // The line of a body that a form has made says nothing to anybody.
    const place = error.file && [error.file, error.line].filter(part => part !== null && part !== undefined).join(':');
    return h(
      'li',
      null,
      place && h('code', null, place),
      place && ' ',
      error.record && h('strong', null, `${error.record}: `),
      error.message,
      error.help && h('span', { class: 'help' }, ` ${error.help}`),
    );
  });
  // With one fault the gateway says it twice: in short, and line by line.
  const said = problem.errors?.length > 0 && problem.message.includes(problem.errors[0].message);
  const box = h(
    'div',
    { class: 'problem', role: 'alert', tabindex: '-1' },
    h('p', null, h('strong', null, t('problem.title')), ' ', said ? '' : problem.message),
  );
  if (lines.length) box.append(h('ul', null, lines));
  return box;
}

/** Shows a failed request in `place`, and goes there. */
export function showProblem(place, problem) {
  if (problem.name === 'AbortError') return;
  if (problem.status === undefined) throw problem;
  const box = problemBox(problem);
  put(place, box);
  box.focus();
}

/** What stands where something is awaited. */
export function loading() {
  return h(
    'p',
    { class: 'loading', role: 'status' },
    h('span', { class: 'spinner', 'aria-hidden': 'true' }),
    t('loading'),
  );
}

/** What stands where there is nothing yet: what it is, and what to do. */
export function empty(title, text, ...actions) {
  return h(
    'div',
    { class: 'empty' },
    h('h2', null, title),
    text && h('p', null, text),
    actions.length > 0 && h('div', { class: 'row' }, actions),
  );
}

/** Loads into `place`: shows that it loads, then what `make` gives, or what went wrong with a way to try again. */
export async function load(place, make, signal) {
  put(place, loading());
  try {
    const content = await make();
    if (!signal?.aborted) put(place, content);
  } catch (problem) {
    if (problem.name === 'AbortError' || signal?.aborted) return;
    if (problem.status === undefined) throw problem;
    put(
      place,
      problemBox(problem),
      h('p', null, h('button', { type: 'button', onclick: () => load(place, make, signal) }, t('try-again'))),
    );
  }
}
