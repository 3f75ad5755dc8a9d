// The panel of one zone: who is inside, what happened, and what to be warned about.

import * as api from '../../api.js';
import { h, icon, put, say } from '../../dom.js';
import { ago, area, metres, t, tn } from '../../i18n.js';
import { may, model, on } from '../../model.js';
import { bounds, shapeArea, shapePoints } from '../../map/geometry.js';
import { empty, load } from '../../notices.js';
import { removeRecord } from '../../removal.js';
import { eventItem, prependEvents } from '../event_words.js';

const SHOWN = 40;

export function zonePanel(map, id, signal) {
  const zone = model.zones.get(id);
  if (!zone)
    return empty(
      t('zone.gone'),
      t('zone.gone.text'),
      h('button', { type: 'button', onclick: () => map.overview() }, t('back')),
    );
  const { properties } = zone;
  const count = h('p', { class: 'big' });
  const inside = h('ul', { class: 'chips' });
  const events = h('ol', { class: 'events', 'aria-live': 'polite', 'aria-relevant': 'additions' });
  const advice = h('div', { class: 'advice' });
  const faults = h('div');

  function drawInside() {
    const number = model.occupancy.get(id) ?? 0;
    say(count, tn('inside', number));
    const devices = [...model.devices.values()].filter(device => device.zones?.includes(id)).slice(0, SHOWN);
    put(
      inside,
      devices.map(device =>
        h(
          'li',
          null,
          h('button', { type: 'button', class: 'chip', onclick: () => map.start('device', device.id) }, device.id),
        ),
      ),
    );
  }

  function drawEvents() {
    const mine = model.events.filter(event => event.data?.zone?.id === id).slice(0, SHOWN);
    put(events, mine.length ? mine.map(eventItem) : h('li', { class: 'quiet' }, t('zone.no-events')));
  }

  async function drawAdvice() {
    try {
      const { items } = await api.get(api.path('zones', id, 'advice'));
      put(
        advice,
        items.map(item =>
          h(
            'div',
            { class: 'warning', role: 'note' },
            icon('warning'),
            h('div', null, h('p', null, item.message), item.help && h('p', { class: 'help' }, item.help)),
          ),
        ),
      );
    } catch {
      // Advice is an extra: without it the panel is whole.
    }
  }

  on('occupancy', zones => (!zones || zones.includes(id)) && drawInside(), signal);
  on('presence', drawInside, signal);
  on(
    'events',
    fresh => {
      const mine = fresh?.filter(event => event.data?.zone?.id === id);
      if (!mine) drawEvents();
      else if (mine.length) {
        events.querySelector('.quiet')?.remove();
        prependEvents(events, mine, SHOWN);
      }
    },
    signal,
  );
  on(
    'registry',
    () => {
      if (!model.zones.has(id)) map.overview();
      else if (model.zones.get(id) !== zone) map.start('zone', id);
    },
    signal,
  );
  drawInside();
  drawEvents();
  drawAdvice();

  const box = zone.shape_m && bounds(shapePoints(zone.shape_m));
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
      h('h2', { tabindex: '-1' }, properties.name || id),
    ),
    count,
    inside,
    advice,
    faults,
    may('editor') &&
      h(
        'div',
        { class: 'row' },
        h('button', { type: 'button', class: 'primary', onclick: () => map.start('edit-zone', id) }, t('zone.edit')),
        h('button', { type: 'button', class: 'danger-plain', onclick: () => remove() }, t('remove.do')),
      ),
    h(
      'dl',
      { class: 'pairs-list' },
      h('dt', null, t('field.id')),
      h('dd', null, h('code', null, id)),
      box && [
        h('dt', null, t('zone.size')),
        h('dd', null, `${metres(box[2] - box[0])} × ${metres(box[3] - box[1])}, ${area(shapeArea(zone.shape_m))}`),
      ],
      Object.entries(properties.labels ?? {}).map(([key, value]) => [h('dt', null, key), h('dd', null, value)]),
    ),
    h('section', null, h('h3', null, t('page.events')), events),
    h('details', null, h('summary', null, t('visits.title')), lazily(visits)),
  ];

  async function remove() {
    await load(
      faults,
      async () => {
        const { etag } = await api.getRecord(api.path('zones', id));
        if (await removeRecord({ kind: 'zone', id, to: api.path('zones', id), etag, text: t('remove.zone') })) {
          model.zones.delete(id);
          map.layers.sync();
          map.overview();
        }
        return null;
      },
      signal,
    );
  }

  async function visits() {
    const { items } = await api.get(`/visits${api.query({ zone: id, limit: 20 })}`);
    if (items.length === 0) return h('p', { class: 'quiet' }, t('visits.none'));
    return h(
      'ul',
      { class: 'facts' },
      items.map(visit =>
        h(
          'li',
          null,
          h('strong', null, visit.device),
          ' ',
          visit.exited_at
            ? t('visits.ended', { from: ago(visit.entered_at), to: ago(visit.exited_at) })
            : t('visits.open', { from: ago(visit.entered_at) }),
        ),
      ),
    );
  }

  /** Loads once the details that it stands in are opened. */
  function lazily(make) {
    const place = h('div');
    requestAnimationFrame(() =>
      place
        .closest('details')
        ?.addEventListener('toggle', event => event.target.open && load(place, make, signal), { signal }),
    );
    return place;
  }
}
