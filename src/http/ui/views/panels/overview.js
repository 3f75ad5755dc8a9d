// The panel of a level: its zones with how many are inside, and the stream of events.

import { h, put, say } from '../../dom.js';
import { number, t, tn } from '../../i18n.js';
import { may, model, on } from '../../model.js';
import { hueOf } from '../../map/layers.js';
import { empty } from '../../notices.js';
import { eventItem, prependEvents } from '../event_words.js';
import { nextStep, stepLink } from '../steps.js';

const SHOWN_ZONES = 200;
const SHOWN_EVENTS = 60;

export function overview(map, signal) {
  const zones = h('ul', { class: 'zonelist' });
  const events = h('ol', { class: 'events', 'aria-live': 'polite', 'aria-relevant': 'additions' });
  const search = h('input', {
    type: 'search',
    placeholder: t('zones.search'),
    'aria-label': t('zones.search'),
    autocomplete: 'off',
  });
  const totals = h('p', { class: 'totals' });
  const counts = new Map();
  const next = h('div', { class: 'card nextstep' });

  function drawZones() {
    const wanted = search.value.trim().toLowerCase();
    const list = [...model.zones.values()]
      .filter(zone => zone.properties.level === map.level && zone.shape_m)
      .filter(({ properties }) => !wanted || `${properties.id} ${properties.name}`.toLowerCase().includes(wanted))
      .sort((a, b) => (a.properties.name || a.properties.id).localeCompare(b.properties.name || b.properties.id));
    counts.clear();
    put(
      zones,
      list.slice(0, SHOWN_ZONES).map(zone => {
        const { id, name } = zone.properties;
        const count = h('span', { class: 'inside' });
        counts.set(id, count);
        return h(
          'li',
          null,
          h(
            'button',
            { type: 'button', class: 'plain', 'data-zone': id, onclick: () => map.start('zone', id) },
            h('span', { class: `swatch hue-${hueOf(id)}`, 'aria-hidden': 'true' }),
            h('span', { class: 'words' }, name || id),
            count,
          ),
        );
      }),
    );
    if (list.length > SHOWN_ZONES)
      zones.append(h('li', { class: 'more' }, t('zones.more', { n: number(list.length - SHOWN_ZONES) })));
    if (list.length === 0)
      put(
        zones,
        h(
          'li',
          null,
          empty(
            t(wanted ? 'zones.none-found' : 'zones.none'),
            wanted ? null : t(may('editor') ? 'zones.none.editor' : 'zones.none.viewer'),
          ),
        ),
      );
    drawCounts();
  }

  function drawNext() {
    const name = may('editor') ? nextStep() : null;
    if (next.dataset.step === `${name}`) return;
    next.dataset.step = `${name}`;
    next.hidden = !name;
    put(next, name && nextCard(map, name));
  }

  function drawCounts() {
    drawNext();
    for (const [id, element] of counts) {
      const inside = model.occupancy.get(id) ?? 0;
      say(element, inside ? tn('inside', inside) : '');
    }
    const here = [...model.devices.values()].filter(device => device.level === map.level).length;
    say(totals, tn('devices.here', here));
  }

  function drawEvents() {
    if (model.events.length === 0) {
      put(events, h('li', null, empty(t('events.none'), t('events.none.text'))));
      return;
    }
    put(events, model.events.slice(0, SHOWN_EVENTS).map(eventItem));
  }

  function addEvents(fresh) {
    if (!fresh || events.querySelector('.empty')) drawEvents();
    else prependEvents(events, fresh, SHOWN_EVENTS);
  }

  search.addEventListener('input', drawZones);
  on('registry', drawZones, signal);
  on('occupancy', drawCounts, signal);
  on('positions', drawCounts, signal);
  on('events', addEvents, signal);
  drawZones();
  drawEvents();
  return [
    next,
    h(
      'section',
      null,
      h('div', { class: 'sectionhead' }, h('h2', null, t('page.zones')), totals),
      model.zones.size > 8 && search,
      zones,
    ),
    h(
      'section',
      null,
      h(
        'div',
        { class: 'sectionhead' },
        h('h2', null, t('page.events')),
        h('a', { href: '#/events' }, t('events.all')),
      ),
      events,
    ),
  ];
}

/** Steps that are done on this very page. */
const HERE = { plan: 'plan', receivers: 'place-receiver', zone: 'draw' };

/** What to do next, while the store is being set up. */
function nextCard(map, step) {
  const style = { class: HERE[step] ? 'primary' : 'button primary' };
  return [
    h('p', { class: 'hint' }, t('step.next')),
    h('h2', null, t(`step.${step}`)),
    h('p', { class: 'hint' }, t(`step.${step}.text`)),
    HERE[step]
      ? h('button', { type: 'button', ...style, onclick: () => map.start(HERE[step]) }, t(`step.${step}.do`))
      : h('a', { ...style, href: stepLink(step) }, t(`step.${step}.do`)),
  ];
}
