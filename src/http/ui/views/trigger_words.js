// When a rule fires, in words.

import { metres, t } from '../i18n.js';
import { zoneName } from '../model.js';

/** What may fire a rule, in the order in which it is offered. */
export const WHENS = [
  'entered',
  'exited',
  'dwelled',
  'approach',
  'first_visit',
  'returned',
  'absent',
  'sequence',
  'missed',
  'occupancy',
];

/** How near is near, in metres. */
export const NEARNESS = { immediate: 1, near: 4, far: 10 };

/** Which of `WHENS` a `when` is. */
export const kindOf = when => WHENS.find(kind => kind in when);

/** A place: a zone, a label as `key=value`, or `*`. */
export function placeWords(place) {
  if (place === 'site') return t('place.site');
  if (place === '*') return t('place.any');
  const at = place.indexOf('=');
  return at < 0 ? zoneName(place) : t('place.label', { key: place.slice(0, at), value: place.slice(at + 1) });
}

/** One place, or any of several. */
export const placesWords = places => [places].flat().map(placeWords).join(` ${t('place.or')} `);

/** A `when`, in words. */
export function whenWords(when) {
  const places = name => placesWords(when[name] ?? 'site');
  switch (kindOf(when)) {
    case 'entered':
      return t('trigger.entered', { places: places('entered') });
    case 'exited':
      return t('trigger.exited', { places: places('exited') });
    case 'dwelled':
      return t(when.total ? 'trigger.dwelled.total' : 'trigger.dwelled', { time: when.dwelled, places: places('in') });
    case 'approach':
      return t('trigger.approach', {
        distance: metres(NEARNESS[when.approach]),
        target: when.to_beacon ?? zoneName(when.to_zone),
      });
    case 'first_visit':
      return t('trigger.first_visit', { places: places('first_visit') });
    case 'returned':
      return t('trigger.returned', { time: when.after, places: places('returned') });
    case 'absent':
      return when.absent === 'usual'
        ? t('trigger.absent.usual', { factor: when.factor, places: places('from') })
        : t('trigger.absent', { time: when.absent, places: places('from') });
    case 'sequence':
      return t('trigger.sequence', { steps: when.sequence.map(placesWords).join(' → '), time: when.within });
    case 'missed':
      return t('trigger.missed', { places: places('missed'), was: places('was_in') });
    case 'occupancy':
      return 'above' in when
        ? t('trigger.above', { n: when.above, zone: placeWords(when.occupancy) })
        : t('trigger.below', { n: when.below, zone: placeWords(when.occupancy) });
    default:
      return '–';
  }
}
