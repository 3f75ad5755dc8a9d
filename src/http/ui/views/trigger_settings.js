// What all rules obey: hours, caps over several rules, attributes.

import * as api from '../api.js';
import { save } from '../conflict.js';
import { dialog } from '../dialog.js';
import { h, icon } from '../dom.js';
import { t, word } from '../i18n.js';
import { field, form } from '../forms.js';
import { notice } from '../notices.js';

export const WEEKDAYS = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];
const TYPES = ['string', 'number', 'bool', 'list'];
const spans = text => text.split(/[\s,;]+/).filter(Boolean);

/** Hours in short: days with the same spans together. */
export function hoursWords(hours) {
  if (!hours) return null;
  const groups = [];
  for (const day of WEEKDAYS) {
    const text = hours[day].join(', ') || t('hours.none');
    if (groups.at(-1)?.text === text) groups.at(-1).last = day;
    else groups.push({ first: day, last: day, text });
  }
  const parts = groups.map(({ first, last, text }) => {
    const days = first === last ? t(`day.${first}`) : `${t(`day.${first}`)} – ${t(`day.${last}`)}`;
    return groups.length === 1 ? text : `${days}: ${text}`;
  });
  if (hours.closed.length) parts.push(t('hours.but', { days: hours.closed.join(', ') }));
  return parts.join('; ');
}

function hoursFields(legend, hours, hint) {
  const days = WEEKDAYS.map(day => {
    const element = field(t(`day.${day}`), { value: hours?.[day].join(', ') ?? '', placeholder: '09:00-20:00' });
    return [day, element];
  });
  const closed = field(t('hours.closed'), {
    value: hours?.closed.join(', ') ?? '',
    placeholder: '2026-12-25',
    hint: t('hours.closed.hint'),
  });
  const toAll = h(
    'button',
    {
      type: 'button',
      class: 'small',
      onclick: () => {
        for (const [, element] of days) element.input.value = days[0][1].input.value;
      },
    },
    t('hours.to-all'),
  );
  const element = h(
    'details',
    { open: Boolean(hours) },
    h('summary', null, legend),
    h('p', { class: 'hint' }, hint),
    h('div', { class: 'days' }, days.map(([, one]) => one)),
    toAll,
    closed,
  );
  element.read = () => {
    const read = Object.fromEntries(days.map(([day, one]) => [day, spans(one.input.value)]));
    read.closed = spans(closed.input.value);
    return Object.values(read).every(list => list.length === 0) ? null : read;
  };
  return element;
}

/** Rows of two controls each. `make(value)` gives both, `read(both)` the value, or null where the row says nothing. */
function rows(legend, hint, values, addLabel, make, read) {
  const place = h('div', { class: 'pairs' });
  const addRow = value => {
    const both = make(value);
    const remove = h(
      'button',
      {
        type: 'button',
        class: 'plain square',
        'aria-label': t('rows.remove'),
        onclick: () => {
          row.remove();
          add.focus();
        },
      },
      icon('close'),
    );
    const row = h('div', { class: 'pair' }, both, remove);
    row.read = () => read(both);
    place.append(row);
    return both[0];
  };
  const add = h('button', { type: 'button', class: 'small', onclick: () => addRow().focus() }, icon('plus'), addLabel);
  for (const value of values) addRow(value);
  const element = h('fieldset', null, h('legend', null, legend), h('p', { class: 'hint' }, hint), place, add);
  element.read = () => [...place.children].map(row => row.read()).filter(value => value !== null);
  return element;
}

const input = (label, value, placeholder) =>
  h('input', { 'aria-label': label, value: value ?? '', placeholder, autocomplete: 'off' });

/** The dialog of the settings. */
export async function editSettings() {
  let record;
  let etag;
  try {
    ({ record, etag } = await api.getRecord('/trigger-settings'));
  } catch (problem) {
    notice(problem.message, { kind: 'bad' });
    return;
  }
  dialog(t('triggers.settings'), close => build(record, etag, close), { wide: true });
}

function build(base, etag, close) {
  const store = hoursFields(t('field.store_hours'), base.store_hours, t('hours.store.hint'));
  const quiet = hoursFields(t('field.quiet_hours'), base.quiet_hours, t('hours.quiet.hint'));
  const caps = rows(
    t('triggers.caps'),
    t('triggers.caps.hint'),
    base.caps,
    t('triggers.caps.add'),
    one => [
      input(t('field.caps'), one?.cap, '3 per day'),
      input(t('field.campaign'), one?.campaign, t('triggers.all')),
    ],
    ([cap, campaign]) =>
      cap.value.trim()
        ? { cap: cap.value.trim(), ...(campaign.value.trim() && { campaign: campaign.value.trim() }) }
        : null,
  );
  const attributes = rows(
    t('triggers.attributes'),
    t('triggers.attributes.hint'),
    Object.entries(base.attributes),
    t('triggers.attributes.add'),
    pair => [
      input(t('field.name'), pair?.[0], 'points'),
      h(
        'select',
        { 'aria-label': t('attribute.type'), value: pair?.[1] ?? 'string' },
        TYPES.map(type => h('option', { value: type }, word('attribute.', type))),
      ),
    ],
    ([name, type]) => (name.value.trim() ? [name.value.trim(), type.value] : null),
  );
  const retention = field(t('field.retention'), {
    value: base.retention,
    required: true,
    hint: t('triggers.retention.hint'),
  });
  return form([store, quiet, caps, attributes, retention], {
    cancel: () => close(),
    send: async () => {
      const mine = {
        attributes: Object.fromEntries(attributes.read()),
        store_hours: store.read(),
        quiet_hours: quiet.read(),
        caps: caps.read(),
        retention: retention.input.value.trim(),
      };
      const saved = await save({
        kind: 'trigger-settings',
        id: 'trigger-settings',
        to: '/trigger-settings',
        mine,
        etag,
        base,
      });
      if (saved === null) return;
      close();
      if (!saved.theirs) notice(t('saved.named', { name: t('triggers.settings') }));
    },
  });
}
