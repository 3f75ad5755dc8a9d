// What a level shows: its floor plan, outline, zones with their names and how many are inside, receivers, fixed
// beacons.
//
// Elements are kept by id and only touched where their record changed.

import * as api from '../api.js';
import { say, set, svg } from '../dom.js';
import { model, on } from '../model.js';
import { bounds, labelPoint, pathOf, planCorners, planMatrix, shapePoints } from './geometry.js';

const HUES = 6;
/** Pixels that a letter of a zone's name takes, about. */
const LETTER = 6.6;

/** The same zone has the same colour everywhere. */
export function hueOf(id) {
  let sum = 7;
  for (const letter of id) sum = (sum * 31 + letter.charCodeAt(0)) % 9973;
  return sum % HUES;
}

export class Layers {
  constructor(viewport, signal) {
    this.viewport = viewport;
    this.level = null;
    this.zones = new Map();
    this.spots = new Map();
    this.selected = null;
    this.hidden = new Set();
    this.outline = svg('path', { class: 'outline' });
    this.zoneGroup = svg('g');
    this.spotGroup = svg('g');
    this.labelGroup = svg('g', { class: 'labels' });
    this.image = svg('image', { preserveAspectRatio: 'none' });
    viewport.plan.append(this.image);
    viewport.shapes.append(this.outline, this.zoneGroup);
    viewport.marks.append(this.spotGroup, this.labelGroup);
    viewport.zoomListeners.add(() => this.#zoomed());
    on('registry', () => this.sync(), signal);
    on('occupancy', zones => (zones ? new Set(zones).forEach(zone => this.#count(zone)) : this.sync()), signal);
    on('status', () => this.#health(), signal);
    signal.addEventListener('abort', () => this.url && URL.revokeObjectURL(this.url));
  }

  /** Shows a level. */
  show(ordinal) {
    this.level = ordinal;
    this.planTag = null;
    this.sync();
  }

  get record() {
    return model.levels.find(level => level.ordinal === this.level);
  }

  /** The box of everything on the level. */
  box() {
    const level = this.record;
    const points = [
      ...(level?.outline ?? []),
      ...(level?.plan ? planCorners(level.plan) : []),
      ...this.#mine(model.zones, zone => zone.properties.level).flatMap(zone => shapePoints(zone.shape_m)),
      ...this.#mine(model.receivers, receiver => receiver.level).map(receiver => [receiver.x, receiver.y]),
    ];
    const box = bounds(points) ?? [-2, -2, 22, 14];
    return box[2] - box[0] < 4 || box[3] - box[1] < 4 ? [box[0] - 8, box[1] - 6, box[2] + 8, box[3] + 6] : box;
  }

  #mine(map, level) {
    return [...map.values()].filter(record => level(record) === this.level);
  }

  /** Brings everything up to date with the registry. */
  sync() {
    const level = this.record;
    if (level?.outline?.length) set(this.outline, 'd', pathOf({ polygons: [[level.outline]] }));
    else this.outline.removeAttribute('d');
    this.#plan(level);
    const zones = this.#mine(model.zones, zone => zone.properties.level).filter(zone => zone.shape_m);
    keep(
      this.zones,
      zones,
      zone => zone.properties.id,
      () => this.#newZone(),
      (element, zone) => this.#zone(element, zone),
    );
    const spots = [
      ...this.#mine(model.receivers, receiver => receiver.level).map(record => ({ kind: 'receiver', record })),
      ...this.#mine(model.beacons, beacon => beacon.level).map(record => ({ kind: 'beacon', record })),
    ];
    keep(
      this.spots,
      spots,
      spot => `${spot.kind}:${spot.record.id}`,
      spot => this.#newSpot(spot),
      (element, spot) => this.#spot(element, spot),
    );
    this.select(this.selected);
  }

  /** Marks what is selected: `zone:ID` and the like, or null. */
  select(key) {
    this.selected = key;
    for (const [id, zone] of this.zones) zone.path.classList.toggle('selected', key === `zone:${id}`);
    for (const [id, spot] of this.spots) spot.g.classList.toggle('selected', key === id);
  }

  /** Hides what is being edited: the sketch stands in its place. */
  hide(key, hidden) {
    if (hidden) this.hidden.add(key);
    else this.hidden.delete(key);
    this.#hiding();
  }

  #hiding() {
    for (const [id, zone] of this.zones) {
      zone.path.classList.toggle('hidden', this.hidden.has(`zone:${id}`));
      zone.label.classList.toggle('hidden', this.hidden.has(`zone:${id}`));
    }
    for (const [id, spot] of this.spots) spot.g.classList.toggle('hidden', this.hidden.has(id));
    this.outline.classList.toggle('hidden', this.hidden.has('outline'));
  }

  async #plan(level) {
    const { image } = this;
    if (!level?.plan) {
      this.planTag = null;
      image.removeAttribute('href');
      return;
    }
    this.place(level.plan);
    const tag = `${level.ordinal}`;
    const fresh = this.planTag !== tag;
    if (fresh) image.removeAttribute('href');
    this.planTag = tag;
    try {
      const { blob, etag } = await api.getBlob(`/levels/${level.ordinal}/plan`);
      if (this.planTag !== tag || (!fresh && etag === this.planEtag)) return;
      this.planEtag = etag;
      if (this.url) URL.revokeObjectURL(this.url);
      this.url = URL.createObjectURL(blob);
      image.setAttribute('href', this.url);
    } catch {
      // Without its picture a level is a level all the same.
    }
  }

  /** Puts the floor plan somewhere, before it is saved. */
  place(plan) {
    set(this.image, 'width', plan.width);
    set(this.image, 'height', plan.height);
    set(this.image, 'transform', `matrix(${planMatrix(plan).join(' ')})`);
  }

  #newZone() {
    const path = svg('path');
    const name = svg('text', { class: 'name' });
    const count = svg('text', { class: 'count', y: '16' });
    const label = svg('g', null, name, count);
    this.zoneGroup.append(path);
    this.labelGroup.append(label);
    return {
      path,
      label,
      name,
      count,
      remove() {
        path.remove();
        label.remove();
      },
    };
  }

  #zone(element, zone) {
    if (element.record === zone) return;
    element.record = zone;
    element.at = labelPoint(zone.shape_m);
    const box = bounds(shapePoints(zone.shape_m));
    element.wide = box[2] - box[0];
    set(element.path, 'd', pathOf(zone.shape_m));
    set(element.path, 'class', `zone hue-${hueOf(zone.properties.id)}`);
    set(element.path, 'data-select', `zone:${zone.properties.id}`);
    this.#label(element);
    this.#count(zone.properties.id);
  }

  #label(element) {
    const { name = '', id } = element.record.properties;
    const fits = element.wide * this.viewport.k;
    const text = name || id;
    const letters = Math.floor(fits / LETTER);
    say(element.name, letters < 4 ? '' : text.length <= letters ? text : `${text.slice(0, letters - 1)}…`);
    set(element.label, 'transform', this.viewport.place(element.at));
    element.count.classList.toggle('hidden', fits < 16);
  }

  #count(id) {
    const element = this.zones.get(id);
    if (!element) return;
    const inside = model.occupancy.get(id) ?? 0;
    say(element.count, inside ? String(inside) : '');
    element.path.classList.toggle('occupied', inside > 0);
  }

  #newSpot({ kind }) {
    const g = svg('g', null);
    if (kind === 'receiver')
      g.append(
        svg('circle', { class: 'halo', r: 15 }),
        svg('circle', { class: 'body', r: 9 }),
        svg('path', { class: 'sign', d: 'M-5 -1a7 7 0 0 1 10 0M-2.8 1.6a4 4 0 0 1 5.6 0M0 4.4h.01' }),
      );
    else
      g.append(
        svg('circle', { class: 'halo', r: 13 }),
        svg('path', { class: 'body', d: 'M0 -8L7 -4V4L0 8L-7 4V-4Z' }),
        svg('circle', { class: 'dot', r: 2 }),
      );
    g.append(svg('text', { class: 'name', y: 24 }));
    this.spotGroup.append(g);
    return {
      g,
      remove() {
        g.remove();
      },
    };
  }

  #spot(element, { kind, record }) {
    element.kind = kind;
    element.record = record;
    set(element.g, 'data-select', `${kind}:${record.id}`);
    say(element.g.lastChild, record.id);
    set(element.g, 'transform', this.viewport.place([record.x, record.y]));
    this.#state(element);
  }

  #state({ g, kind, record }) {
    const state = kind === 'receiver' ? (model.health.get(record.id)?.state ?? 'unknown') : 'fixed';
    set(g, 'class', `spot ${kind} ${state}${this.selected === `${kind}:${record.id}` ? ' selected' : ''}`);
  }

  #health() {
    for (const spot of this.spots.values()) this.#state(spot);
    this.#hiding();
  }

  #zoomed() {
    for (const zone of this.zones.values()) this.#label(zone);
    for (const { g, record } of this.spots.values()) set(g, 'transform', this.viewport.place([record.x, record.y]));
    this.spotGroup.classList.toggle('named', this.viewport.k > 32);
  }
}

/** Brings a map of elements in line with records: makes, changes and removes as few as it can. */
function keep(elements, records, key, make, change) {
  const stay = new Set();
  for (const record of records) {
    const id = key(record);
    stay.add(id);
    if (!elements.has(id)) elements.set(id, make(record));
    change(elements.get(id), record);
  }
  for (const [id, element] of elements) {
    if (stay.has(id)) continue;
    element.remove();
    elements.delete(id);
  }
}
