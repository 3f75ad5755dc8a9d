// Nearby: the beacons that are heard now, strongest first, and one click to register the one in the hand.

import * as api from '../api.js';
import { dialog } from '../dialog.js';
import { h, icon, put, say } from '../dom.js';
import { ago, now, number, t, word } from '../i18n.js';
import { field, form, ID_PATTERN, run } from '../forms.js';
import { model, on } from '../model.js';
import { empty, notice } from '../notices.js';
import { deviceFields } from './devices.js';

/** The bar is empty at the weakest that is ever heard, and full with the beacon at the receiver. */
const WEAKEST_DBM = -95;
const STRONGEST_DBM = -35;

export async function show({ signal }) {
  const faults = h('div', { class: 'faults' });
  const clock = h('span', { class: 'clock', role: 'timer' });
  const start = h(
    'button',
    { type: 'button', class: 'primary', onclick: () => run(start, faults, begin) },
    icon('nearby'),
    t('nearby.start'),
  );
  const stop = h('button', { type: 'button', onclick: () => run(stop, faults, end) }, t('nearby.stop'));
  const bar = h('div', { class: 'row' });
  const place = h('div', { class: 'nearby' });
  const rows = new Map();
  let until = null;

  async function begin() {
    ({ until } = await api.post('/nearby'));
    draw({ until, beacons: [] });
  }

  async function end() {
    await api.remove('/nearby');
    draw({ until: null, beacons: [] });
  }

  function draw(answer) {
    const was = until !== null && bar.childElementCount > 0;
    until = answer.until;
    if (!until) {
      rows.clear();
      put(bar, start);
      put(place, h('div', { class: 'card' }, empty(t(was ? 'nearby.over' : 'nearby.idle'), t('nearby.idle.text'))));
      return;
    }
    if (!bar.contains(stop)) put(bar, clock, stop);
    tickClock();
    if (answer.beacons.length === 0) {
      rows.clear();
      put(place, h('div', { class: 'card' }, empty(t('nearby.none'), t('nearby.none.text'))));
      return;
    }
    drawRows(answer.beacons);
  }

  function drawRows(beacons) {
    if (!place.querySelector('ul')) put(place, h('ul'));
    const list = place.firstChild;
    const known = new Set(beacons.map(beacon => beacon.identity));
    for (const [identity, row] of rows) {
      if (known.has(identity)) continue;
      row.element.remove();
      rows.delete(identity);
    }
    const ordered = beacons.map(beacon => {
      const row = rows.get(beacon.identity) ?? newRow();
      rows.set(beacon.identity, row);
      row.show(beacon);
      return row.element;
    });
    // What has the focus or the pointer on it must not jump away.
    if (list.matches(':hover') || list.contains(document.activeElement)) {
      for (const element of ordered) if (!element.isConnected) list.append(element);
    } else if (ordered.some((element, at) => list.children[at] !== element)) {
      list.replaceChildren(...ordered);
    }
  }

  function newRow() {
    const strength = h('div', { class: 'strength' }, h('div', { class: 'fill' }));
    const dbm = h('span', { class: 'dbm' });
    const title = h('h2');
    const detail = h('p', { class: 'hint' });
    const actions = h('div', { class: 'row' });
    const element = h(
      'li',
      { class: 'card' },
      h('div', { class: 'meter' }, strength, dbm),
      h('div', { class: 'what' }, title, detail),
      actions,
    );
    let state = null;
    return {
      element,
      show(beacon) {
        const share = Math.min(1, Math.max(0.03, (beacon.rssi - WEAKEST_DBM) / (STRONGEST_DBM - WEAKEST_DBM)));
        strength.firstChild.style.setProperty('width', `${Math.round(share * 100)}%`);
        say(dbm, t('nearby.dbm', { rssi: number(beacon.rssi) }));
        const receivers = Object.entries(beacon.receivers)
          .sort((a, b) => b[1] - a[1])
          .map(([id]) => id)
          .join(', ');
        say(title, beacon.beacon ? (beacon.device ?? beacon.beacon) : word('format.', beacon.format));
        say(detail, `${beacon.identity} · ${t('nearby.by', { receivers })} · ${ago(beacon.last_heard)}`);
        if (state === `${beacon.beacon}`) return;
        state = `${beacon.beacon}`;
        put(
          actions,
          beacon.beacon
            ? h('span', { class: 'pill good' }, t('nearby.registered', { id: beacon.beacon }))
            : [
                h(
                  'button',
                  { type: 'button', class: 'primary', onclick: () => register(beacon) },
                  t('nearby.register'),
                ),
                h(
                  'a',
                  {
                    class: 'button',
                    href: `#/map/${model.levels[0]?.ordinal ?? 0}/place-beacon/${encodeURIComponent(beacon.identity)}`,
                  },
                  t('nearby.fixed'),
                ),
              ],
        );
      },
    };
  }

  function tickClock() {
    if (!until) return;
    const left = Math.max(0, Math.round((Date.parse(until) - now()) / 1000));
    say(clock, t('nearby.left', { time: `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}` }));
    if (left === 0) draw({ until: null, beacons: [] });
  }

  on('nearby', draw, signal);
  const timer = setInterval(tickClock, 1000);
  signal.addEventListener('abort', () => clearInterval(timer));
  draw(await api.get('/nearby'));
  return [
    h('div', { class: 'viewhead' }, h('h1', null, t('page.nearby')), bar),
    h('p', { class: 'lead' }, t('nearby.lead')),
    faults,
    place,
  ];
}

/** The short form: which device carries it, what it is, and that whoever carries it agreed. */
function register(beacon) {
  dialog(t('nearby.register.title'), close => {
    const id = field(t('nearby.device'), { value: '', required: true, pattern: ID_PATTERN, hint: t('device.id.hint') });
    const fields = deviceFields(null);
    suggest(id);
    return [
      h('p', null, h('code', null, beacon.identity)),
      form([id, fields.fields], {
        label: t('nearby.register'),
        cancel: () => close(),
        send: async () => {
          const device = id.input.value.trim();
          if (fields.kind.input.value === 'customer' && !fields.consent.input.checked) {
            throw new api.Problem(422, { detail: t('consent.missing') });
          }
          const created = await createDevice({ id: device, labels: {}, ...fields.read() });
          try {
            await api.create('/beacons', {
              id: device,
              identity: beacon.identity,
              device,
              x: null,
              y: null,
              level: null,
              measured_power: null,
            });
          } catch (problem) {
            // Half a registration is none: the device that was made for this beacon goes again.
            if (created) await api.remove(api.path('devices', device), created).catch(() => {});
            throw problem;
          }
          close();
          notice(t('nearby.done', { id: device }), {
            action: () => {
              location.hash = '#/map';
            },
            label: t('nearby.to-map'),
          });
        },
      }),
    ];
  });
}

/** Makes a device; its ETag, or null where it was there already: a device may carry several beacons. */
async function createDevice(device) {
  try {
    return (await api.create('/devices', device)).etag;
  } catch (problem) {
    if (problem.status === 409) return null;
    throw problem;
  }
}

/** Suggests an id that no device has yet. */
async function suggest(id) {
  for (let n = 1; n < 200; n += 1) {
    const candidate = `${t('nearby.device.example')}-${n}`;
    try {
      const { items } = await api.get(`/devices${api.query({ q: candidate, limit: 1000 })}`);
      if (items.some(device => device.id === candidate)) continue;
    } catch {
      return;
    }
    if (!id.input.value) {
      id.input.value = candidate;
      id.input.select();
    }
    return;
  }
}
