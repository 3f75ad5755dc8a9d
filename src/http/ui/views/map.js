// The map: one level with its floor plan, what is live on it, and beside it a panel with what is chosen.

import { h, icon, put } from '../dom.js';
import { number, t } from '../i18n.js';
import { may, model, on } from '../model.js';
import { Devices } from '../map/devices.js';
import { Draft } from '../map/draft.js';
import { drawing, picking } from '../map/draw.js';
import { Layers } from '../map/layers.js';
import { grid, scaleBar } from '../map/scale.js';
import { targets } from '../map/snap.js';
import { Viewport } from '../map/viewport.js';
import { announce } from '../notices.js';
import { beaconForm } from './panels/beacon.js';
import { devicePanel } from './panels/device.js';
import { levelForm } from './panels/level.js';
import { overview } from './panels/overview.js';
import { planPanel } from './panels/plan.js';
import { receiverForm } from './panels/receiver.js';
import { zonePanel } from './panels/zone.js';
import { zoneForm } from './panels/zone_form.js';
import { toolbar } from '../map/toolbar.js';

/**
 * The page. `rest` is the level, what is chosen (`zone`, `receiver`, `beacon`, `device`, `plan`, `level`, `draw`), and
 * its id.
 */
export function show({ signal, rest }) {
  const viewport = new Viewport(signal);
  const map = new MapPage(viewport, signal);
  const levels = h('div', { class: 'levels', role: 'group', 'aria-label': t('map.levels') });
  const drawLevels = () =>
    put(
      levels,
      model.levels.map(level =>
        h(
          'button',
          {
            type: 'button',
            'aria-pressed': String(level.ordinal === map.level),
            onclick: () => map.showLevel(level.ordinal),
          },
          level.name,
        ),
      ),
      may('editor') &&
        h(
          'button',
          {
            type: 'button',
            class: 'plain',
            title: t('tool.level.title'),
            'aria-label': t('level.edit-this'),
            onclick: () => map.start('level'),
          },
          icon('outline'),
          h('span', null, t('level.edit-this')),
        ),
      may('editor') &&
        h(
          'button',
          {
            type: 'button',
            class: 'plain',
            title: t('map.add-level'),
            'aria-label': t('map.add-level'),
            onclick: () => map.open(signals => levelForm(map, null, signals)),
          },
          icon('plus'),
          h('span', null, t('map.add-level')),
        ),
    );
  map.onLevel = drawLevels;
  on(
    'registry',
    () => {
      drawLevels();
      if (!model.levels.some(level => level.ordinal === map.level) && model.levels.length)
        map.showLevel(model.levels[0].ordinal);
    },
    signal,
  );

  const legend = h(
    'ul',
    { class: 'legend', 'aria-label': t('map.legend') },
    ['customer', 'staff', 'asset'].map(kind =>
      h('li', null, h('span', { class: `swatch ${kind}`, 'aria-hidden': 'true' }), t(`kinds.${kind}`)),
    ),
  );
  const zoom = h(
    'div',
    { class: 'zoom', role: 'group', 'aria-label': t('map.zoom') },
    h(
      'button',
      {
        type: 'button',
        class: 'square',
        'aria-label': t('map.zoom-in'),
        title: t('map.zoom-in'),
        onclick: () => viewport.zoomAt(1.4),
      },
      icon('plus'),
    ),
    h(
      'button',
      {
        type: 'button',
        class: 'square',
        'aria-label': t('map.zoom-out'),
        title: t('map.zoom-out'),
        onclick: () => viewport.zoomAt(1 / 1.4),
      },
      icon('minus'),
    ),
    h(
      'button',
      {
        type: 'button',
        class: 'square',
        'aria-label': t('map.fit'),
        title: t('map.fit'),
        onclick: () => viewport.fit(map.layers.box()),
      },
      icon('fit'),
    ),
  );
  const stage = h('div', { class: 'stage' }, viewport.element, zoom, scaleBar(viewport), legend, map.hint, map.readout);
  viewport.element.addEventListener(
    'pointermove',
    event => {
      const box = viewport.element.getBoundingClientRect();
      const [x, y] = viewport.toSite([event.clientX - box.left, event.clientY - box.top]);
      map.readout.textContent = `x ${number(x, 1)}  y ${number(y, 1)} m`;
    },
    { signal },
  );

  const [ordinal, kind, id] = rest;
  const wanted = Number(ordinal);
  map.showLevel(model.levels.some(level => level.ordinal === wanted) ? wanted : (model.levels[0]?.ordinal ?? 0));
  if (kind) map.start(kind, id);
  else map.overview();
  return [
    h(
      'div',
      { class: 'mapbar' },
      h('h1', { class: 'sr' }, t('page.map')),
      levels,
      map.toolbar.more,
      may('editor') && map.toolbar.element,
    ),
    h('div', { class: 'maprow' }, stage, map.panel),
  ];
}

/** What panels and tools share. */
class MapPage {
  constructor(viewport, signal) {
    this.viewport = viewport;
    this.signal = signal;
    this.layers = new Layers(viewport, signal);
    this.devices = new Devices(viewport, signal);
    this.grid = grid(viewport);
    this.snapping = localStorage.getItem('snap') !== 'off';
    this.panel = h('aside', { class: 'panel', 'aria-label': t('map.panel') });
    this.hint = h('p', { class: 'hintbar', hidden: true });
    this.readout = h('p', { class: 'readout', 'aria-hidden': 'true' });
    this.draft = null;
    this.inner = new AbortController();
    this.toolbar = toolbar(this, signal);
    viewport.onSelect = key => this.choose(key);
    signal.addEventListener('abort', () => this.inner.abort());
  }

  showLevel(ordinal) {
    if (this.draft) return;
    this.level = ordinal;
    this.layers.show(ordinal);
    this.devices.show(ordinal);
    this.viewport.fit(this.layers.box());
    this.onLevel?.();
    if (this.isOverview) this.overview();
  }

  /** What to snap to now, or null where snapping is off. */
  aim(except) {
    if (!this.snapping) return null;
    const shapes = [...model.zones.values()]
      .filter(zone => zone.properties.level === this.level && zone.properties.id !== except)
      .map(zone => zone.shape_m);
    const outline = this.layers.record?.outline;
    return { ...targets(outline?.length ? [...shapes, { polygons: [[outline]] }] : shapes), step: this.grid.step };
  }

  /** Shows something in the panel; what was there before is ended. */
  open(build) {
    this.inner.abort();
    this.inner = new AbortController();
    this.stopDraft();
    this.viewport.use(null);
    this.tell(null);
    this.isOverview = false;
    this.panel.classList.toggle('editing', false);
    put(this.panel, build(this.inner.signal));
    this.panel.scrollTop = 0;
  }

  /** The panel of everything: zones and events. */
  overview() {
    this.open(signal => overview(this, signal));
    this.isOverview = true;
    this.mark(null);
  }

  mark(key) {
    this.layers.select(key);
    this.devices.select(key?.startsWith('device:') ? key.slice(7) : null);
  }

  /** Chooses what was clicked: `zone:ID` and the like. */
  choose(key) {
    if (this.draft) return;
    if (!key) {
      this.overview();
      return;
    }
    const at = key.indexOf(':');
    this.start(key.slice(0, at), key.slice(at + 1));
  }

  start(kind, id) {
    const edits = may('editor');
    this.mark(`${kind}:${id}`);
    if (kind === 'zone') this.open(signal => zonePanel(this, id, signal));
    else if (kind === 'edit-zone' && edits) this.open(signal => zoneForm(this, { id }, signal));
    else if (kind === 'device') this.open(signal => devicePanel(this, id, signal));
    else if (kind === 'receiver') this.open(signal => receiverForm(this, { id }, signal));
    else if (kind === 'beacon') this.open(signal => beaconForm(this, { id }, signal));
    else if (kind === 'plan' && edits) this.open(signal => planPanel(this, signal));
    else if (kind === 'level' && edits) this.open(signal => levelForm(this, this.level, signal));
    else if (kind === 'draw' && edits) this.draw(id ?? 'rectangle');
    else if (kind === 'place-receiver' && edits) this.placeReceiver();
    else if (kind === 'place-beacon' && edits) this.placeBeacon({ identity: id });
    else this.overview();
    this.panel.querySelector('h2')?.focus?.();
  }

  tell(text) {
    this.hint.hidden = !text;
    this.hint.textContent = text ?? '';
    if (text) announce(text);
  }

  /** Draws a new zone; without a pointer it begins as a rectangle in the middle, whose corners are typed or moved. */
  draw(kind, byKeyboard = false) {
    const done = shape => this.open(signal => zoneForm(this, { shape }, signal));
    this.overview();
    if (byKeyboard) {
      done(this.#middleShape(kind));
      return;
    }
    this.tell(t(`hint.${kind}`));
    this.viewport.use(drawing(this.viewport, kind, { aim: () => this.aim(), done, cancel: () => this.tell(null) }));
    this.toolbar.active(kind);
  }

  #middleShape(kind) {
    const [x, y] = this.viewport
      .toSite([this.viewport.width / 2, this.viewport.height / 2])
      .map(value => Math.round(value * 2) / 2);
    if (kind === 'circle') return { centre: [x, y], radius: 2 };
    return {
      polygons: [
        [
          [
            [x - 2, y - 1.5],
            [x + 2, y - 1.5],
            [x + 2, y + 1.5],
            [x - 2, y + 1.5],
          ],
        ],
      ],
    };
  }

  /** Lets a place be picked, then calls `done(point)`; without a pointer it is the middle of the window. */
  pick(text, done, byKeyboard = false) {
    if (byKeyboard) {
      done(
        this.viewport
          .toSite([this.viewport.width / 2, this.viewport.height / 2])
          .map(value => Math.round(value * 10) / 10),
      );
      return;
    }
    this.tell(text);
    this.viewport.use(
      picking(this.viewport, {
        aim: () => this.aim(),
        done: point => {
          this.tell(null);
          done(point);
        },
        cancel: () => this.tell(null),
      }),
    );
  }

  placeReceiver(byKeyboard) {
    this.overview();
    this.pick(t('hint.receiver'), point => this.open(signal => receiverForm(this, { point }, signal)), byKeyboard);
    this.toolbar.active('receiver');
  }

  placeBeacon({ identity } = {}, byKeyboard) {
    this.overview();
    this.pick(
      t('hint.beacon'),
      point => this.open(signal => beaconForm(this, { point, identity }, signal)),
      byKeyboard,
    );
    this.toolbar.active('beacon');
  }

  /** Begins to edit a shape on the map. */
  startDraft(shape, { except, hide, changed }) {
    this.stopDraft();
    if (hide) this.layers.hide(hide, true);
    this.draft = new Draft(this.viewport, shape, {
      aim: () => this.aim(except),
      changed: shape => {
        changed(shape);
        this.toolbar.steps();
      },
    });
    this.draft.hides = hide;
    this.panel.classList.add('editing');
    this.toolbar.steps();
    return this.draft;
  }

  stopDraft() {
    if (!this.draft) return;
    this.draft.end();
    if (this.draft.hides) this.layers.hide(this.draft.hides, false);
    this.draft = null;
    this.toolbar.steps();
  }
}
