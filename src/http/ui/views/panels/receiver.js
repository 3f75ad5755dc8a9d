// The form of a receiver: a radio at a known place.

import { h } from '../../dom.js';
import { ago, metres, number, t, word } from '../../i18n.js';
import { field, ID_PATTERN, numberField } from '../../forms.js';
import { model } from '../../model.js';
import { opened, placedForm, placeFields } from './placed.js';

/** `{id}` of one that is there, or `{point}` for a new one. */
export function receiverForm(map, { id, point }, signal) {
  return opened('receivers', id, signal, (record, etag) => {
    const name = field(t('field.id'), {
      value: record?.id ?? '',
      required: true,
      pattern: ID_PATTERN,
      readonly: Boolean(record),
      hint: t('receiver.id.hint'),
      placeholder: t('receiver.id.placeholder'),
    });
    const place = placeFields(map, record, point, t('handle.receiver'), signal);
    const z = numberField(t('field.z'), { value: record?.z ?? 2.5, unit: 'm', hint: t('receiver.z.hint') });
    const offset = numberField(t('field.rssi_offset'), {
      value: record?.rssi_offset ?? 0,
      unit: 'dB',
      hint: t('receiver.offset.hint'),
    });
    if (!record) requestAnimationFrame(() => name.input.focus());
    return placedForm(map, {
      kind: 'receiver',
      collection: 'receivers',
      base: record,
      etag,
      title: record ? record.id : t('receiver.new'),
      fields: [name, place.fields, z, h('details', null, h('summary', null, t('advanced')), offset)],
      read: () => ({
        id: name.input.value.trim(),
        ...place.read(),
        z: z.number() ?? 2.5,
        rssi_offset: offset.number() ?? 0,
      }),
      facts: record && facts(record),
    });
  });
}

function facts(record) {
  const health = model.health.get(record.id) ?? { state: 'unknown' };
  return h(
    'dl',
    { class: 'pairs-list' },
    h('dt', null, t('health.state')),
    h(
      'dd',
      null,
      h('span', { class: `pill ${health.state}` }, word('state.', health.state)),
      health.reason ? ` ${word('health.reason.', health.reason)}` : '',
    ),
    h('dt', null, t('health.last-heard')),
    h('dd', null, ago(health.last_heard)),
    health.advertisements !== undefined && [
      h('dt', null, t('health.advertisements')),
      h('dd', null, number(health.advertisements)),
    ],
    h('dt', null, t('field.place')),
    h('dd', null, `${metres(record.x)}, ${metres(record.y)}`),
  );
}
