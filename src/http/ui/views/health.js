// Whether everything is well: delivery, receivers, beacons, and what the gateway counted.

import * as api from '../api.js';
import { h, icon, put } from '../dom.js';
import { ago, duration, instant, now, number, t, tn, word } from '../i18n.js';
import { levelOf, model, on } from '../model.js';
import { empty, load } from '../notices.js';
import { beaconCard } from './beacon_health.js';

const EVERY_MS = 15_000;

export function show({ signal }) {
  const delivery = h('section', { class: 'card' });
  const receivers = h('section', { class: 'card' });
  const beacons = h('section', { class: 'card' });
  const advice = h('section', { class: 'card' });
  const counters = h('section', { class: 'card' });
  const live = () => {
    put(delivery, deliveryCard(model.delivery));
    put(receivers, receiverCard());
  };
  live();
  on('status', live, signal);
  on('registry', live, signal);
  const slow = async () => {
    await Promise.all([
      load(beacons, beaconCard, signal),
      load(advice, adviceCard, signal),
      load(counters, counterCard, signal),
    ]);
  };
  slow();
  const timer = setInterval(() => !document.hidden && refresh(), EVERY_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  async function refresh() {
    live();
    try {
      const card = await counterCard();
      if (!signal.aborted && !counters.contains(document.activeElement)) put(counters, card);
    } catch {
      // The banner says it where the gateway is away.
    }
  }
  return [
    h('div', { class: 'viewhead' }, h('h1', null, t('page.health'))),
    h('div', { class: 'columns' }, delivery, receivers, advice, beacons, counters),
  ];
}

/** The state of delivery, in words: what it means and what to do. */
export function deliveryCard(state) {
  if (!state) return [h('h2', null, t('delivery.title')), h('p', { class: 'quiet' }, t('delivery.unknown'))];
  const bad = !state.connected || state.failing;
  return [
    h(
      'div',
      { class: 'sectionhead' },
      h('h2', null, t('delivery.title')),
      h(
        'span',
        { class: `pill ${bad ? 'bad' : state.waiting || state.parked ? 'warn' : 'good'}` },
        t(state.connected ? 'delivery.connected' : 'delivery.away'),
      ),
    ),
    h('p', null, t(state.connected ? 'delivery.connected.text' : 'delivery.away.text', { broker: state.broker ?? '' })),
    state.failing && h('div', { class: 'warning' }, icon('warning'), h('p', null, state.failing)),
    h(
      'p',
      null,
      state.waiting ? tn('delivery.waiting', state.waiting) : t('delivery.none-waiting'),
      ' ',
      state.waiting && state.oldest ? t('delivery.oldest', { ago: ago(state.oldest) }) : '',
    ),
    state.parked > 0 &&
      h('div', { class: 'warning' }, icon('warning'), h('p', null, tn('delivery.parked', state.parked))),
  ];
}

function receiverCard() {
  const list = [...model.receivers.values()];
  const heads = [h('h2', null, t('page.receivers'))];
  if (list.length === 0) return [...heads, empty(t('receivers.empty'), t('receivers.empty.text'))];
  const down = list.filter(receiver => model.health.get(receiver.id)?.state === 'down');
  const heard = list.some(receiver => model.health.get(receiver.id)?.state === 'up');
  return [
    h(
      'div',
      { class: 'sectionhead' },
      heads,
      down.length > 0
        ? h('span', { class: 'pill bad' }, tn('health.down', down.length))
        : heard && h('span', { class: 'pill good' }, t('health.all-well')),
    ),
    h(
      'ul',
      { class: 'rows' },
      list.map(receiver => {
        const health = model.health.get(receiver.id) ?? { state: 'unknown' };
        return h(
          'li',
          null,
          h(
            'div',
            null,
            h('strong', null, receiver.id),
            h('span', { class: 'hint' }, levelOf(receiver.level)?.name ?? ''),
          ),
          h(
            'div',
            null,
            h('span', { class: `pill ${health.state}` }, word('state.', health.state)),
            h(
              'span',
              { class: 'hint' },
              health.reason
                ? word('health.reason.', health.reason)
                : health.last_heard
                  ? t('health.heard', { ago: ago(health.last_heard) })
                  : t('health.nothing'),
            ),
          ),
        );
      }),
    ),
    down.length > 0 && h('p', { class: 'hint' }, t('health.down.text')),
  ];
}

async function adviceCard() {
  const { items } = await api.get('/advice');
  return [
    h(
      'div',
      { class: 'sectionhead' },
      h('h2', null, t('advice.title')),
      h(
        'span',
        { class: `pill ${items.length ? 'warn' : 'good'}` },
        items.length ? tn('advice.count', items.length) : t('health.all-well'),
      ),
    ),
    items.length === 0
      ? h('p', { class: 'quiet' }, t('advice.none'))
      : items
          .slice(0, 50)
          .map(item =>
            h(
              'div',
              { class: 'warning' },
              icon('warning'),
              h(
                'div',
                null,
                h('p', null, h('strong', null, item.record ?? ''), ' ', item.message),
                item.help && h('p', { class: 'help' }, item.help),
              ),
            ),
          ),
  ];
}

async function counterCard() {
  const status = await api.get('/status');
  const since = (now() - Date.parse(status.since)) / 1000;
  return [
    h('h2', null, t('status.title')),
    h(
      'dl',
      { class: 'pairs-list' },
      h('dt', null, t('status.version')),
      h('dd', null, status.version),
      h('dt', null, t('status.since')),
      h('dd', null, `${instant(status.since)} (${duration(since)})`),
      status.clock_suspect && [h('dt', null, t('status.clock')), h('dd', null, t('status.clock.suspect'))],
      status.store?.failing && [h('dt', null, t('status.disk')), h('dd', null, status.store.failing)],
    ),
    h(
      'details',
      null,
      h('summary', null, t('status.counters')),
      h(
        'dl',
        { class: 'pairs-list' },
        Object.entries(status.counters ?? {}).map(([name, value]) => [
          h('dt', null, word('counter.', name)),
          h('dd', null, number(value)),
        ]),
      ),
    ),
  ];
}
