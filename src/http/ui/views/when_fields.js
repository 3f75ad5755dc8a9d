// The fields that say when a rule fires: what, and what goes with it.

import { h, icon, put } from '../dom.js';
import { metres, t } from '../i18n.js';
import { choice, field, numberField, tick } from '../forms.js';
import { model } from '../model.js';
import { kindOf, NEARNESS, placesWords, WHENS } from './trigger_words.js';

const zonesByName = () =>
  [...model.zones.values()]
    .map(({ properties }) => [properties.id, properties.name || properties.id])
    .filter(([id]) => id !== 'site')
    .sort((one, other) => one[1].localeCompare(other[1]));

/** Every place that a rule can name: `[value, words]`, the value as JSON. One that is there no more comes last. */
function options(current) {
  const labels = new Set();
  for (const { properties } of model.zones.values())
    for (const [key, value] of Object.entries(properties.labels ?? {})) labels.add(`${key}=${value}`);
  const all = ['site', '*', ...zonesByName().map(([id]) => id), ...[...labels].sort()];
  if (current !== undefined && !all.includes(current)) all.push(current);
  return all.map(place => [JSON.stringify(place), placesWords(place)]);
}

/** Rows of places. `read()` gives them all; `least` cannot be taken away. */
function placeRows(legend, values, { least = 1, add: addLabel = t('place.add'), hint } = {}) {
  const rows = h('div', { class: 'stack tight' });
  const count = () => {
    for (const [at, row] of [...rows.children].entries()) {
      row.firstChild.setAttribute('aria-label', t('place.of', { legend, n: at + 1 }));
      row.lastChild.hidden = rows.children.length <= least;
    }
  };
  const addRow = value => {
    const select = h(
      'select',
      { value: JSON.stringify(value) },
      options(value).map(([key, text]) => h('option', { value: key }, text)),
    );
    const remove = h(
      'button',
      {
        type: 'button',
        class: 'plain square',
        'aria-label': t('place.remove'),
        onclick: () => {
          row.remove();
          count();
          add.focus();
        },
      },
      icon('close'),
    );
    const row = h('div', { class: 'pick' }, select, remove);
    rows.append(row);
    count();
    return select;
  };
  const add = h(
    'button',
    { type: 'button', class: 'small', onclick: () => addRow('site').focus() },
    icon('plus'),
    addLabel,
  );
  for (const value of values) addRow(value);
  const element = h('fieldset', null, h('legend', null, legend), hint && h('p', { class: 'hint' }, hint), rows, add);
  element.read = () => [...rows.children].map(row => JSON.parse(row.firstChild.value));
  return element;
}

/** Places, any of which will do: one is read as it is, several as a list. */
function places(legend, value = 'site') {
  const element = placeRows(legend, [value].flat());
  return {
    element,
    read: () => {
      const all = element.read();
      return all.length === 1 ? all[0] : all;
    },
  };
}

function time(label, value, placeholder) {
  const element = field(label, { value: value ?? '', required: true, placeholder, hint: t('trigger.time.hint') });
  return { element, read: () => element.input.value.trim() };
}

function zone(label, value, { site = false } = {}) {
  const list = zonesByName();
  if (site) list.unshift(['site', t('place.site')]);
  const element = choice(label, list, value ?? list[0]?.[0], { required: true });
  return { element, read: () => element.input.value };
}

function whole(label, value, attributes) {
  const element = numberField(label, { value, step: 1, min: 0, ...attributes });
  return { element, read: () => element.number() };
}

/** The parts of each kind: `{key: part}`; what reads as null is left out. */
const PARTS = {
  entered: when => ({ entered: places(t('trigger.where'), when.entered) }),
  exited: when => ({ exited: places(t('trigger.where'), when.exited) }),
  dwelled: when => {
    const total = tick(t('trigger.total'), when.total, { hint: t('trigger.total.hint') });
    return {
      dwelled: time(t('trigger.stay'), when.dwelled, '5m'),
      in: places(t('trigger.where'), when.in),
      total: { element: total, read: () => total.input.checked },
    };
  },
  approach: when => {
    const nearness = choice(
      t('trigger.near'),
      Object.entries(NEARNESS).map(([name, within]) => [name, t('trigger.within', { distance: metres(within) })]),
      when.approach ?? 'near',
    );
    const targets = [
      ...[...model.beacons.keys()].sort().map(id => [`to_beacon ${id}`, t('trigger.target.beacon', { id })]),
      ...zonesByName().map(([id, name]) => [`to_zone ${id}`, t('trigger.target.zone', { name })]),
    ];
    const known = when.to_beacon ? `to_beacon ${when.to_beacon}` : when.to_zone && `to_zone ${when.to_zone}`;
    const target = choice(t('trigger.target'), targets, known ?? targets[0]?.[0], { required: true });
    const is = name => () => {
      const [key, id] = target.input.value.split(' ');
      return key === name ? id : null;
    };
    return {
      approach: { element: nearness, read: () => nearness.input.value },
      to_beacon: { element: target, read: is('to_beacon') },
      to_zone: { element: null, read: is('to_zone') },
    };
  },
  first_visit: when => ({ first_visit: places(t('trigger.where'), when.first_visit) }),
  returned: when => ({
    returned: places(t('trigger.where'), when.returned),
    after: time(t('trigger.after'), when.after, '30d'),
  }),
  absent: when => {
    const isUsual = when.absent === 'usual';
    const usual = tick(t('trigger.usual'), isUsual, { hint: t('trigger.usual.hint') });
    const away = time(t('trigger.away'), isUsual ? '' : when.absent, '60d');
    const factor = numberField(t('trigger.factor'), { value: when.factor ?? 2, min: 1.1, max: 100 });
    const visits = whole(t('trigger.min_visits'), when.min_visits ?? 4, { min: 3, max: 16 });
    const both = h('div', { class: 'two' }, factor, visits.element);
    const show = () => {
      both.hidden = !usual.input.checked;
      away.element.hidden = usual.input.checked;
      away.element.input.disabled = usual.input.checked;
      for (const input of both.querySelectorAll('input')) input.disabled = !usual.input.checked;
    };
    usual.input.addEventListener('change', show);
    show();
    const ifUsual = read => () => (usual.input.checked ? read() : null);
    return {
      absent: { element: [usual, away.element, both], read: () => (usual.input.checked ? 'usual' : away.read()) },
      from: places(t('trigger.where'), when.from),
      factor: { element: null, read: ifUsual(() => factor.number()) },
      min_visits: { element: null, read: ifUsual(visits.read) },
    };
  },
  sequence: when => {
    const element = placeRows(t('trigger.steps'), when.sequence ?? ['site', 'site'], {
      least: 2,
      add: t('trigger.steps.add'),
    });
    return {
      sequence: { element, read: () => element.read() },
      within: time(t('trigger.within-time'), when.within, '30m'),
    };
  },
  missed: when => ({
    was_in: places(t('trigger.was_in'), when.was_in),
    missed: places(t('trigger.was-not'), when.missed),
  }),
  occupancy: when => {
    const bound = choice(
      t('trigger.bound'),
      [
        ['above', t('trigger.bound.above')],
        ['below', t('trigger.bound.below')],
      ],
      when.below === undefined ? 'above' : 'below',
    );
    const count = whole(t('trigger.count'), when.above ?? when.below, { required: true });
    const is = name => () => (bound.input.value === name ? count.read() : null);
    return {
      occupancy: zone(t('field.zone'), when.occupancy, { site: true }),
      above: { element: h('div', { class: 'two' }, bound, count.element), read: is('above') },
      below: { element: null, read: is('below') },
      until: whole(t('trigger.until'), when.until, { hint: t('trigger.until.hint') }),
    };
  },
};

/** The fields of a `when`; `read()` gives what they say. */
export function whenFields(when = {}) {
  const kind = choice(
    t('trigger.what'),
    WHENS.map(name => [name, t(`trigger.kind.${name}`)]),
    kindOf(when) ?? 'entered',
  );
  const place = h('div', { class: 'stack' });
  let parts = {};
  const show = of => {
    parts = PARTS[kind.input.value](of);
    put(place, Object.values(parts).map(part => part.element));
  };
  kind.input.addEventListener('change', () => show({}));
  show(when);
  const element = h('fieldset', null, h('legend', null, t('trigger.when')), kind, place);
  element.read = () =>
    Object.fromEntries(
      Object.entries(parts)
        .map(([key, part]) => [key, part.read()])
        .filter(([, value]) => value !== null),
    );
  /** The fields by the keys that faults name. */
  element.byKey = () =>
    Object.fromEntries(
      Object.entries(parts)
        .map(([key, part]) => [key, part.element])
        .filter(([, field]) => field?.input),
    );
  return element;
}
