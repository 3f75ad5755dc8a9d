// The panel of one device: where it is, in which zones, and why.

import { h, put, say } from '../../dom.js';
import { metres, number, t, word } from '../../i18n.js';
import { levelOf, model, on, zoneName } from '../../model.js';
import { load } from '../../notices.js';
import { eventItem, why } from '../event_words.js';

const ASK_EVERY_MS = 3000;
const SHOWN = 30;

export function devicePanel(map, id, signal) {
  const where = h('p');
  const zones = h('ul', { class: 'chips' });
  const reasons = h('div');
  const events = h('ol', { class: 'events' });

  function drawPlace() {
    const device = model.devices.get(id);
    say(
      where,
      device && device.x !== null
        ? t('device.where', {
            x: number(device.x, 1),
            y: number(device.y, 1),
            level: levelOf(device.level)?.name ?? device.level,
            accuracy: metres(device.accuracy),
          })
        : t('device.nowhere'),
    );
    const names = device?.zones ?? [];
    if (zones.dataset.names === names.join()) return;
    zones.dataset.names = names.join();
    put(
      zones,
      names.map(zone =>
        h(
          'li',
          null,
          h('button', { type: 'button', class: 'chip', onclick: () => map.start('zone', zone) }, zoneName(zone)),
        ),
      ),
    );
  }

  const drawEvents = () =>
    put(
      events,
      model.events
        .filter(event => event.subject === id)
        .slice(0, SHOWN)
        .map(eventItem),
    );

  async function ask(first) {
    if (first) await load(reasons, () => why(id), signal);
    else if (!document.hidden && !reasons.contains(document.activeElement))
      put(reasons, await why(id).catch(() => [...reasons.childNodes]));
  }

  on('positions', drawPlace, signal);
  on('presence', devices => (!devices || devices.includes(id)) && drawPlace(), signal);
  on('events', fresh => (!fresh || fresh.some(event => event.subject === id)) && drawEvents(), signal);
  const timer = setInterval(() => ask(false), ASK_EVERY_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  drawPlace();
  drawEvents();
  ask(true);
  const kind = model.devices.get(id)?.kind;
  return [
    h(
      'div',
      { class: 'panelhead' },
      h(
        'button',
        {
          type: 'button',
          class: 'plain square',
          'aria-label': t('back'),
          title: t('back'),
          onclick: () => map.overview(),
        },
        '←',
      ),
      h('h2', { tabindex: '-1' }, id),
      kind && h('span', { class: `pill ${kind}` }, word('kinds.', kind)),
    ),
    where,
    zones,
    h('section', null, h('h3', null, t('why.title')), reasons),
    h('section', null, h('h3', null, t('page.events')), events),
    h('p', null, h('a', { href: `#/devices/${encodeURIComponent(id)}` }, t('device.open'))),
  ];
}
