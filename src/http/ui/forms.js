// Parts of forms: every field has its label, its hint, and tells a screen reader both.

import { fresh, h, icon, put } from './dom.js';
import { t } from './i18n.js';
import { showProblem } from './notices.js';

/** A labelled field. Give `input` for anything but a plain `<input>`. */
export function field(label, { input, hint, ...attributes } = {}) {
  const control = input ?? h('input', { type: 'text', autocomplete: 'off', ...attributes });
  const id = control.id || fresh('field');
  control.id = id;
  const hintId = hint && `${id}-hint`;
  if (hint) control.setAttribute('aria-describedby', hintId);
  const element = h(
    'div',
    { class: 'field' },
    h('label', { for: id }, label),
    control,
    hint && h('p', { class: 'hint', id: hintId }, hint),
  );
  element.input = control;
  return element;
}

/** A number of metres, dBm and the like; empty is null. */
export function numberField(label, { value, step = 'any', unit, ...rest } = {}) {
  const element = field(unit ? `${label} (${unit})` : label, {
    type: 'number',
    step,
    inputmode: 'decimal',
    value: value ?? '',
    ...rest,
  });
  element.number = () => (element.input.value === '' ? null : Number(element.input.value));
  return element;
}

/** A choice: `options` are `[value, label]`. */
export function choice(label, options, value, { hint, ...attributes } = {}) {
  const input = h(
    'select',
    { ...attributes, value: value ?? '' },
    options.map(([key, text]) => h('option', { value: key }, text)),
  );
  return field(label, { input, hint });
}

/** A tick box with its words beside it. */
export function tick(label, checked, { hint, ...attributes } = {}) {
  const id = fresh('tick');
  const input = h('input', {
    type: 'checkbox',
    id,
    checked: Boolean(checked),
    'aria-describedby': hint ? `${id}-hint` : null,
    ...attributes,
  });
  const element = h(
    'div',
    { class: 'tick' },
    input,
    h('div', null, h('label', { for: id }, label), hint && h('p', { class: 'hint', id: `${id}-hint` }, hint)),
  );
  element.input = input;
  return element;
}

/** Rows of key and value, as labels have them. `read()` gives the object. */
export function pairs(legend, values) {
  const rows = h('div', { class: 'pairs' });
  const addRow = (key = '', value = '') => {
    const row = h(
      'div',
      { class: 'pair' },
      h('input', { 'aria-label': t('labels.key'), placeholder: t('labels.key'), value: key, autocomplete: 'off' }),
      h('input', { 'aria-label': t('labels.value'), placeholder: t('labels.value'), value, autocomplete: 'off' }),
      h(
        'button',
        {
          type: 'button',
          class: 'plain square',
          'aria-label': t('labels.remove', { key: key || '…' }),
          onclick: () => {
            row.remove();
            add.focus();
          },
        },
        icon('close'),
      ),
    );
    rows.append(row);
    return row;
  };
  for (const [key, value] of Object.entries(values ?? {})) addRow(key, value);
  const add = h(
    'button',
    { type: 'button', class: 'small', onclick: () => addRow().firstChild.focus() },
    icon('plus'),
    t('labels.add'),
  );
  const element = h('fieldset', null, h('legend', null, legend), rows, add);
  element.read = () =>
    Object.fromEntries(
      [...rows.children]
        .map(row => [row.children[0].value.trim(), row.children[1].value.trim()])
        .filter(([key]) => key),
    );
  return element;
}

/** A form that is sent by `send`, with the place for what goes wrong. Escape calls `cancel`. */
export function form(children, { send, cancel, label, cancelLabel, extra } = {}) {
  const faults = h('div', { class: 'faults' });
  const submit = h('button', { type: 'submit', class: 'primary' }, label ?? t('save'));
  const element = h(
    'form',
    { novalidate: true },
    children,
    faults,
    h(
      'div',
      { class: 'row end sticky' },
      extra,
      cancel && h('button', { type: 'button', onclick: cancel }, cancelLabel ?? t('cancel')),
      submit,
    ),
  );
  element.addEventListener('submit', async event => {
    event.preventDefault();
    const wrong = [...element.elements].find(control => !control.checkValidity());
    if (wrong) {
      for (let up = wrong.closest('details'); up; up = up.parentElement.closest('details')) up.open = true;
      wrong.focus();
      wrong.reportValidity();
      return;
    }
    put(faults);
    submit.disabled = true;
    element.setAttribute('aria-busy', 'true');
    try {
      await send();
    } catch (problem) {
      showProblem(faults, problem);
    } finally {
      submit.disabled = false;
      element.removeAttribute('aria-busy');
    }
  });
  element.faults = faults;
  return element;
}

/** Runs what a button starts; the button waits, and failures are shown in `place`. */
export async function run(button, place, work) {
  button.disabled = true;
  try {
    await work();
  } catch (problem) {
    showProblem(place, problem);
  } finally {
    button.disabled = false;
  }
}

const IDS = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** What an id may look like, for the `pattern` of a field. */
export const ID_PATTERN = '[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}';

/** An id made out of a name, unlike those that are `taken`. */
export function suggestId(name, taken) {
  const plain = name
    .normalize('NFD')
    .replace(/[\u0300-\u036f]/g, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 56);
  const base = IDS.test(plain) ? plain : 'x';
  let id = base;
  for (let n = 2; taken(id); n += 1) id = `${base}-${n}`;
  return id;
}
