// The steps from an empty store to a working zone, and whether each is done.

import { model } from '../model.js';

const hasOrigin = () => Boolean(model.site) && (model.site.origin.latitude !== 0 || model.site.origin.longitude !== 0);
const realZones = () => [...model.zones.values()].filter(zone => zone.shape_m);

/** Steps in order: name, whether done. */
export function steps() {
  return [
    ['site', hasOrigin()],
    ['plan', model.levels.some(level => level.plan)],
    ['receivers', model.receivers.size > 0],
    ['zone', realZones().length > 0],
    ['beacon', model.beaconCount > 0],
  ];
}

/** Where a step is done; the site's is a form. */
export function stepLink(name) {
  const level = model.levels[0]?.ordinal ?? 0;
  return {
    site: '#/setup',
    plan: `#/map/${level}/plan`,
    receivers: `#/map/${level}/place-receiver`,
    zone: `#/map/${level}/draw`,
    beacon: '#/nearby',
  }[name];
}

/** The step that comes next; null once all are done, or something is live. */
export function nextStep() {
  if (model.devices.size > 0 || model.events.length > 0) return null;
  return steps().find(([, done]) => !done)?.[0] ?? null;
}

/** Whether the store is as good as empty: then the steps come first. */
export function isEmpty() {
  return realZones().length === 0 && (model.receivers.size === 0 || model.devices.size === 0);
}
