// The stream of events, with what is to be seen of it.

import { h, put } from '../dom.js';
import { number, t, word } from '../i18n.js';
import { choice } from '../forms.js';
import { model, on } from '../model.js';
import { empty } from '../notices.js';
import { eventItem, kindOf, prependEvents } from './event_words.js';

const SHOWN = 200;

export function show({ signal }) {
  const zone = choice(t('events.zone'), [['', t('all')]], '');
  const device = h('input', {
    type: 'search',
    'aria-label': t('events.device'),
    placeholder: t('events.device'),
    autocomplete: 'off',
  });
  const kind = choice(
    t('events.kind'),
    [['', t('all')], ...['entered', 'dwelled', 'exited'].map(value => [value, word('events.kind.', value)])],
    '',
  );
  const events = h('ol', { class: 'events card', 'aria-live': 'polite', 'aria-relevant': 'additions' });
  const pause = h('button', { type: 'button', 'aria-pressed': 'false', onclick: () => hold(!held) }, t('events.pause'));
  const waiting = h('p', { class: 'quiet', role: 'status' });
  let held = false;
  let missed = 0;

  const wanted = event =>
    (!zone.input.value || event.data?.zone?.id === zone.input.value) &&
    (!device.value.trim() || String(event.subject).toLowerCase().includes(device.value.trim().toLowerCase())) &&
    (!kind.input.value || kindOf(event) === kind.input.value);

  function draw() {
    const list = model.events.filter(wanted).slice(0, SHOWN);
    if (list.length) put(events, list.map(eventItem));
    else
      put(
        events,
        h('li', null, empty(t(model.events.length ? 'events.none-match' : 'events.none'), t('events.none.text'))),
      );
  }

  function hold(value) {
    held = value;
    pause.setAttribute('aria-pressed', String(held));
    missed = 0;
    waiting.textContent = '';
    if (!held) draw();
  }

  function drawZones() {
    const before = zone.input.value;
    const options = [...model.zones.values()]
      .map(({ properties }) => [properties.id, properties.name || properties.id])
      .sort((a, b) => a[1].localeCompare(b[1]));
    put(
      zone.input,
      h('option', { value: '' }, t('all')),
      options.map(([value, text]) => h('option', { value }, text)),
    );
    zone.input.value = before;
  }

  on(
    'events',
    fresh => {
      const mine = fresh?.filter(wanted);
      if (mine?.length === 0) return;
      if (held) {
        missed += mine?.length ?? 0;
        waiting.textContent = t('events.waiting', { n: number(missed) });
      } else if (!mine || events.querySelector('.empty')) {
        draw();
      } else {
        prependEvents(events, mine, SHOWN);
      }
    },
    signal,
  );
  on('registry', drawZones, signal);
  for (const input of [zone.input, kind.input, device]) input.addEventListener('input', draw);
  drawZones();
  draw();
  return [
    h('div', { class: 'viewhead' }, h('h1', null, t('page.events')), pause),
    h('p', { class: 'lead' }, t('events.lead')),
    h('div', { class: 'filters' }, h('div', { class: 'field' }, device), zone, kind),
    waiting,
    events,
  ];
}
