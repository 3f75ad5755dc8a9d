// The form of a fixed beacon: a transmitter at a known place.

import { h } from '../../dom.js';
import { metres, t } from '../../i18n.js';
import { field, ID_PATTERN, numberField, suggestId } from '../../forms.js';
import { model } from '../../model.js';
import { opened, placedForm, placeFields } from './placed.js';

/** `{id}` of one that is there, or `{point}`, and perhaps `identity`, for a new one. */
export function beaconForm(map, { id, point, identity }, signal) {
  return opened('beacons', id, signal, (record, etag) => {
    const suggested = record ? record.id : suggestId(t('beacon.fixed-id'), taken => model.beacons.has(taken));
    const name = field(t('field.id'), {
      value: suggested,
      required: true,
      pattern: ID_PATTERN,
      readonly: Boolean(record),
    });
    const sent = field(t('field.identity'), {
      value: record?.identity ?? identity ?? '',
      required: true,
      hint: t('beacon.identity.hint'),
      placeholder: 'ibeacon:UUID/1/2',
    });
    const place = placeFields(map, record, point, t('handle.beacon'), signal);
    const power = numberField(t('field.measured_power'), {
      value: record?.measured_power,
      unit: 'dBm',
      placeholder: '-59',
      hint: t('beacon.power.hint'),
    });
    if (!record) requestAnimationFrame(() => (identity ? name : sent).input.focus());
    return placedForm(map, {
      kind: 'beacon',
      collection: 'beacons',
      base: record,
      etag,
      title: record ? record.id : t('beacon.new-fixed'),
      fields: [name, sent, place.fields, h('details', null, h('summary', null, t('advanced')), power)],
      read: () => ({
        id: name.input.value.trim(),
        identity: sent.input.value.trim(),
        device: null,
        ...place.read(),
        measured_power: power.number(),
      }),
      facts:
        record &&
        h(
          'dl',
          { class: 'pairs-list' },
          h('dt', null, t('field.identity')),
          h('dd', null, h('code', null, record.identity)),
          h('dt', null, t('field.place')),
          h('dd', null, `${metres(record.x)}, ${metres(record.y)}`),
        ),
    });
  });
}
