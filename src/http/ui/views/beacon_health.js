// How the beacons fare: all of them, or those in one state.

import * as api from '../api.js';
import { h } from '../dom.js';
import { choice } from '../forms.js';
import { ago, instant, metres, number, t, tn, word } from '../i18n.js';
import { levelOf } from '../model.js';
import { empty } from '../notices.js';
import { list, listPage } from './list.js';

/** The states that call for somebody, the worst first. */
export const PROBLEMS = ['missing', 'moved', 'low_battery', 'interval_drift'];
const STATES = ['problem', ...PROBLEMS, 'ok', 'never_heard', 'not_heard'];
const KIND = { missing: 'bad', moved: 'bad', low_battery: 'warn', interval_drift: 'warn', never_heard: 'warn', ok: 'good' };

export function show({ signal, rest }) {
  const state = choice(
    t('health.state'),
    [['', t('all')], ...STATES.map(name => [name, word('beacon.state.', name)])],
    STATES.includes(rest[0]) ? rest[0] : '',
  );
  const rows = list({
    collection: 'beacon-health',
    kind: 'beacon',
    signal,
    caption: t('page.beacon-health'),
    filter: () => ({ state: state.input.value }),
    none: () => empty(t('list.none-found'), t('list.none-found.text')),
    columns: [
      [t('field.id'), beacon => beaconLink(beacon)],
      [t('health.state'), beacon => statePills(beacon)],
      [t('beacon.battery'), beacon => battery(beacon.battery)],
      [t('beacon.interval'), beacon => interval(beacon.interval)],
      [t('beacon.last-heard'), beacon => (beacon.last_heard ? heard(beacon.last_heard) : '–')],
    ],
  });
  state.input.addEventListener('change', () => rows.again());
  return listPage({
    title: t('page.beacon-health'),
    lead: t('beacon.health.lead'),
    actions: h('a', { class: 'button', href: '#/health' }, t('page.health')),
    search: rows.search,
    filters: state,
    place: rows.place,
  });
}

/** What is wrong with the beacons, for the page of the gateway's health. */
export async function beaconCard() {
  const answer = await api.get('/beacon-health?state=problem&limit=50');
  const { counts } = answer;
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const heads = h('h2', null, t('page.beacons'));
  if (all === 0) return [heads, empty(t('beacons.empty'), t('beacons.empty.text'))];
  const shown = [...PROBLEMS, 'never_heard'].filter(state => counts[state] > 0);
  return [
    h(
      'div',
      { class: 'sectionhead' },
      heads,
      answer.total > 0
        ? h('span', { class: 'pill warn' }, tn('beacon.health.problems', answer.total))
        : h('span', { class: 'pill good' }, t('health.all-well')),
    ),
    shown.length > 0 &&
      h(
        'p',
        { class: 'row' },
        shown.map(state =>
          h(
            'a',
            { class: `pill ${KIND[state]}`, href: `#/beacon-health/${state}` },
            `${number(counts[state])} ${word('beacon.state.', state)}`,
          ),
        ),
      ),
    h(
      'ul',
      { class: 'rows' },
      answer.items.map(beacon =>
        h(
          'li',
          null,
          h('div', null, h('strong', null, beaconLink(beacon)), h('span', { class: 'hint' }, words(beacon))),
          h('div', null, statePills(beacon)),
        ),
      ),
    ),
    h('p', null, h('a', { href: '#/beacon-health' }, t('beacon.health.all'))),
  ];
}

/** The beacon, with a way to where it is looked after. */
function beaconLink(beacon) {
  const id = encodeURIComponent(beacon.beacon);
  const href = beacon.level === null ? `#/beacons/${id}` : `#/map/${beacon.level}/beacon/${id}`;
  return h('a', { href }, beacon.beacon);
}

function statePills(beacon) {
  const states = beacon.problems.length ? beacon.problems : [beacon.state];
  return h(
    'span',
    { class: 'pills' },
    states.map(state => h('span', { class: `pill ${KIND[state] ?? ''}` }, word('beacon.state.', state))),
  );
}

/** What is wrong, in a sentence or two. */
function words(beacon) {
  const said = {
    missing: () => t('beacon.missing.text', { ago: ago(beacon.last_heard) }),
    moved: () => moved(beacon.moved),
    low_battery: () => battery(beacon.battery),
    interval_drift: () => t('beacon.interval.text', { how: interval(beacon.interval) }),
  };
  return beacon.problems.map(problem => said[problem]?.() ?? '').join(' · ');
}

function moved(place) {
  if (!place) return '';
  const level = levelOf(place.level)?.name ?? place.level;
  if (place.x === undefined) return t('beacon.moved.level', { level });
  return t('beacon.moved.text', { x: metres(place.x), y: metres(place.y), level });
}

function battery(of) {
  if (!of) return '–';
  const level = of.percent === undefined ? `${number(of.millivolts / 1000, 2)}\u00a0V` : `${number(of.percent)}\u00a0%`;
  if (of.days_left === undefined) return level;
  return `${level}, ${of.days_left === 0 ? t('beacon.days-left.none') : tn('beacon.days-left', of.days_left)}`;
}

const seconds = ms => (ms < 1000 ? `${number(ms)}\u00a0ms` : `${number(ms / 1000, 1)}\u00a0s`);

function interval(of) {
  if (!of) return '–';
  if (of.drifted) return t('beacon.interval.drifted', { now: seconds(of.ms), usual: seconds(of.usual_ms) });
  return seconds(of.ms);
}

const heard = iso => h('time', { datetime: iso, title: instant(iso) }, ago(iso));
