// What the page knows of the gateway: the registry as far as the map shows it, and what is live. Views listen by topic.

import * as api from './api.js';
import { clockIs } from './i18n.js';
import { open } from './stream.js';

const MOST_EVENTS = 500;

export const model = {
  me: null,
  site: null,
  levels: [],
  zones: new Map(),
  receivers: new Map(),
  /** Fixed beacons alone: carried ones have no place on the map. */
  beacons: new Map(),
  /** How many beacons there are, carried ones too. */
  beaconCount: 0,
  /** Live positions: id → {id, kind, level, x, y, accuracy, zones}. */
  devices: new Map(),
  occupancy: new Map(),
  health: new Map(),
  delivery: null,
  events: [],
  connected: true,
  ready: false,
};

const listeners = new Map();

/**
 * Calls `then` on each `topic` until `signal` is aborted. `events`, `occupancy` and `presence` come as arrays of what
 * is new, or null where everything is.
 */
export function on(topic, then, signal) {
  if (!listeners.has(topic)) listeners.set(topic, new Set());
  listeners.get(topic).add(then);
  signal?.addEventListener('abort', () => listeners.get(topic).delete(then));
}

export function emit(topic, data) {
  for (const then of [...(listeners.get(topic) ?? [])]) then(data);
}

/** What comes in bursts is told in one go, at most so often: a page can be drawn ten times a second, not a thousand. */
const TELL_MS = 120;
const untold = new Map();

function tell(topic, item) {
  if (!untold.has(topic)) untold.set(topic, []);
  untold.get(topic).push(item);
  if (untold.size === 1 && untold.get(topic).length === 1) {
    setTimeout(() => {
      const topics = [...untold];
      untold.clear();
      for (const [name, items] of topics) emit(name, items);
    }, TELL_MS);
  }
}

const RANK = { viewer: 0, editor: 1, admin: 2 };

/** Whether who is signed in may do what `role` may. */
export function may(role) {
  return RANK[model.me?.role] >= RANK[role];
}

export const levelOf = ordinal => model.levels.find(level => level.ordinal === ordinal);
export const zoneName = id => model.zones.get(id)?.properties.name || id;

/** Loads everything, then follows the stream. */
export async function begin() {
  await Promise.all([loadRegistry(), loadLive()]);
  model.ready = true;
  closeStream?.();
  closeStream = open(handle, connection);
}

let closeStream = null;

/** Forgets everything: somebody else may sign in. */
export function end() {
  closeStream?.();
  closeStream = null;
  clearTimeout(lookTimer);
  lookTimer = null;
  model.ready = false;
  model.me = null;
  model.site = null;
  model.levels = [];
  model.events = [];
  for (const map of [model.zones, model.receivers, model.beacons, model.devices, model.occupancy, model.health])
    map.clear();
}

async function loadRegistry() {
  const [site, levels, zones, receivers, anyBeacon] = await Promise.all([
    api.get('/site'),
    api.get('/levels'),
    api.all('zones'),
    api.all('receivers'),
    api.get('/beacons?limit=1'),
  ]);
  model.beaconCount = anyBeacon.total;
  const beacons = (await Promise.all(levels.items.map(level => api.all('beacons', { level: level.ordinal })))).flat();
  model.site = site;
  model.levels = levels.items.sort((one, other) => one.ordinal - other.ordinal);
  fill(model.zones, zones, zone => zone.properties.id);
  fill(model.receivers, receivers, receiver => receiver.id);
  fill(model.beacons, beacons, beacon => beacon.id);
}

async function loadLive() {
  const [live, events] = await Promise.all([api.get('/live'), api.get('/events?limit=200')]);
  clockIs(live.at);
  fill(model.devices, live.devices, device => device.id);
  fill(
    model.occupancy,
    Object.entries(live.occupancy),
    pair => pair[0],
    pair => pair[1],
  );
  fill(model.health, live.receivers, receiver => receiver.id);
  model.delivery = live.delivery;
  model.events = events.items;
}

function fill(map, items, key, value = item => item) {
  map.clear();
  for (const item of items) map.set(key(item), value(item));
}

function connection(state) {
  if (state === 'lost' && model.connected) {
    model.connected = false;
    emit('connection', false);
  }
  if (state === 'open' && !model.connected) {
    model.connected = true;
    refresh();
    emit('connection', true);
  }
}

async function refresh() {
  try {
    await Promise.all([loadRegistry(), loadLive()]);
    for (const topic of ['registry', 'positions', 'occupancy', 'status', 'events']) emit(topic, null);
  } catch {
    // The stream says so as well, and comes back by itself.
  }
}

/** Positions come without the kind of a device: a new one is looked up. */
const LOOK_MS = 500;
let lookTimer = null;

function lookUp() {
  lookTimer ??= setTimeout(async () => {
    lookTimer = null;
    try {
      const live = await api.get('/live');
      if (model.ready) fill(model.devices, live.devices, device => device.id);
      emit('positions');
    } catch {
      // The stream says so as well, and comes back by itself.
    }
  }, LOOK_MS);
}

const HANDLERS = {
  positions({ at, devices, gone = [] }) {
    clockIs(at);
    for (const [id, level, x, y, accuracy] of devices) {
      const device = model.devices.get(id) ?? { id, kind: null, zones: [] };
      model.devices.set(id, Object.assign(device, { level, x, y, accuracy }));
    }
    for (const id of gone) model.devices.delete(id);
    if (devices.some(([id]) => model.devices.get(id).kind === null)) lookUp();
    emit('positions', gone.length ? undefined : devices);
  },
  presence({ device, zones }) {
    const known = model.devices.get(device);
    if (known) known.zones = zones.map(zone => zone.zone ?? zone);
    tell('presence', device);
  },
  occupancy({ zone, count }) {
    model.occupancy.set(zone, count);
    tell('occupancy', zone);
  },
  status({ receivers, delivery }) {
    fill(model.health, receivers, receiver => receiver.id);
    model.delivery = delivery;
    emit('status', null);
  },
  registry(change) {
    apply(change);
  },
  /** Events fell out of the gateway's memory while the connection was gone. */
  missed() {
    refresh();
  },
  nearby(body) {
    emit('nearby', body);
  },
  'presence-event'(event) {
    if (model.events.some(known => known.id === event.id)) return;
    model.events.unshift(event);
    model.events.length = Math.min(model.events.length, MOST_EVENTS);
    const device = event.data?.device;
    const known = device && model.devices.get(device.id);
    if (known) {
      known.kind = device.kind;
    }
    tell('events', event);
  },
};

function handle(kind, data) {
  HANDLERS[kind]?.(data);
}

const MAPS = { zone: 'zones', receiver: 'receivers', beacon: 'beacons' };

/** Takes over what somebody, or this page, changed in the registry. */
async function apply(change) {
  const total = Object.values(change.counts ?? {}).reduce((sum, count) => sum + (count || 0), 0);
  try {
    if (total > change.items.length || change.items.some(item => item.kind === 'site' || item.kind === 'level'))
      await loadRegistry();
    else await Promise.all(change.items.map(applyOne));
    if (change.items.some(item => item.kind === 'beacon'))
      model.beaconCount = (await api.get('/beacons?limit=1')).total;
    for (const { kind, id, action } of change.items)
      if (kind === 'device' && action === 'removed') model.devices.delete(id);
  } catch {
    return;
  }
  emit('registry', change);
}

async function applyOne({ kind, id, action }) {
  const name = MAPS[kind];
  if (!name) return;
  if (action === 'removed') {
    model[name].delete(id);
    return;
  }
  try {
    const record = await api.get(api.path(name, id));
    if (name === 'beacons' && record.level === null) model.beacons.delete(id);
    else model[name].set(id, record);
  } catch (problem) {
    if (problem.status !== 404) throw problem;
    model[name].delete(id);
  }
}
