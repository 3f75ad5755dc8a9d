// Dialogs: the focus goes in, stays in, and goes back to where it was.

import { fresh, h, icon } from './dom.js';
import { t } from './i18n.js';

/**
 * Opens a dialog and gives `{element, close}`; `build(close)` makes its body. `whenClosed` gets what `close` was given.
 */
export function dialog(title, build, { wide = false, whenClosed } = {}) {
  const opener = document.activeElement;
  const heading = fresh('dialog');
  let result;
  const close = value => {
    result = value;
    element.close();
  };
  const element = h(
    'dialog',
    { 'aria-labelledby': heading, class: wide ? 'wide' : null },
    h(
      'header',
      null,
      h('h2', { id: heading }, title),
      h(
        'button',
        { type: 'button', class: 'plain square', 'aria-label': t('close'), onclick: () => close() },
        icon('close'),
      ),
    ),
  );
  element.append(h('div', { class: 'body' }, build(close)));
  element.addEventListener('close', () => {
    element.remove();
    if (opener?.isConnected) opener.focus();
    whenClosed?.(result);
  });
  document.body.append(element);
  element.showModal();
  const first = element.querySelector(
    '[autofocus], .body input:not([type=hidden]), .body select, .body textarea, .body button',
  );
  first?.focus();
  return { element, close };
}

/** Asks before something that is hard to take back. Resolves to whether it was agreed to. */
export function confirm(title, text, label, { dangerous = true } = {}) {
  return new Promise(resolve => {
    dialog(
      title,
      close => [
        h('p', null, text),
        h(
          'div',
          { class: 'row end' },
          h('button', { type: 'button', autofocus: true, onclick: () => close(false) }, t('cancel')),
          h('button', { type: 'button', class: dangerous ? 'danger' : 'primary', onclick: () => close(true) }, label),
        ),
      ],
      { whenClosed: value => resolve(value === true) },
    );
  });
}
