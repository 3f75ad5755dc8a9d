// All devices: what is tracked, with whose consent.

import * as api from '../api.js';
import { save } from '../conflict.js';
import { dialog } from '../dialog.js';
import { h } from '../dom.js';
import { t, word } from '../i18n.js';
import { choice, field, form, ID_PATTERN, pairs, tick } from '../forms.js';
import { may, model } from '../model.js';
import { empty, notice, showProblem } from '../notices.js';
import { removeRecord } from '../removal.js';
import { list, listPage } from './list.js';

export function show({ signal, rest }) {
  const add = () => h('button', { type: 'button', class: 'primary', onclick: () => edit(null) }, t('devices.add'));
  const rows = list({
    collection: 'devices',
    kind: 'device',
    signal,
    caption: t('page.devices'),
    q: rest[0] ?? '',
    none: () => empty(t('devices.empty'), t('devices.empty.text'), may('editor') && add()),
    columns: [
      [t('field.id'), device => device.id],
      [t('field.kind'), device => h('span', { class: `pill ${device.kind}` }, word('kinds.', device.kind))],
      [
        t('field.consent'),
        device =>
          device.consent.length
            ? device.consent.map(one => word('consent.', one)).join(', ')
            : t(device.kind === 'customer' ? 'consent.none' : 'consent.not-needed'),
      ],
      [
        t('field.labels'),
        device =>
          Object.entries(device.labels)
            .map(([key, value]) => `${key}: ${value}`)
            .join(', ') || '–',
      ],
      [
        '',
        device => [
          model.devices.has(device.id) &&
            h(
              'a',
              {
                class: 'button small',
                href: `#/map/${model.devices.get(device.id).level}/device/${encodeURIComponent(device.id)}`,
                'aria-label': t('list.show-named', { name: device.id }),
              },
              t('list.show'),
            ),
          ' ',
          may('editor') &&
            h(
              'button',
              {
                type: 'button',
                class: 'small',
                'aria-label': t('list.edit-named', { name: device.id }),
                onclick: () => edit(device.id),
              },
              t('list.edit'),
            ),
        ],
        'actions',
      ],
    ],
  });
  if (rest[0] && may('editor')) edit(rest[0]);
  return listPage({
    title: t('page.devices'),
    lead: t('devices.lead'),
    actions: may('editor') && add(),
    search: rows.search,
    place: rows.place,
  });
}

/** The fields of a device; `read()` gives what they say. */
export function deviceFields(device) {
  const kind = choice(
    t('field.kind'),
    ['customer', 'staff', 'asset'].map(value => [value, word('kinds.', value)]),
    device?.kind ?? 'customer',
  );
  const consent = tick(t('consent.tick'), device?.consent.includes('presence'), { hint: t('consent.tick.hint') });
  const needed = () => {
    consent.hidden = kind.input.value !== 'customer';
  };
  kind.input.addEventListener('change', needed);
  needed();
  const others = (device?.consent ?? []).filter(one => one !== 'presence');
  return {
    fields: [kind, consent],
    kind,
    consent,
    read: () => ({ kind: kind.input.value, consent: [...(consent.input.checked ? ['presence'] : []), ...others] }),
  };
}

/** The dialog of a device, new where `id` is null. */
async function edit(id) {
  let base = null;
  let etag = null;
  try {
    if (id) ({ record: base, etag } = await api.getRecord(api.path('devices', id)));
  } catch (problem) {
    notice(problem.message, { kind: 'bad' });
    return;
  }
  dialog(id ? t('device.edit', { id }) : t('device.new'), close => {
    const name = field(t('field.id'), {
      value: id ?? '',
      required: true,
      pattern: ID_PATTERN,
      readonly: Boolean(id),
      hint: t('device.id.hint'),
    });
    const fields = deviceFields(base);
    const further = field(t('consent.further'), {
      value: (base?.consent ?? []).filter(one => one !== 'presence').join(' '),
      hint: t('consent.further.hint'),
    });
    const labels = pairs(t('field.labels'), base?.labels);
    const to = id && api.path('devices', id);
    const element = form(
      [name, fields.fields, h('details', null, h('summary', null, t('zone.more')), further, labels)],
      {
        cancel: () => close(),
        extra: id && h('button', { type: 'button', class: 'danger-plain', onclick: () => remove() }, t('remove.do')),
        send: async () => {
          const read = fields.read();
          const mine = {
            id: name.input.value.trim(),
            kind: read.kind,
            consent: [
              ...read.consent.filter(one => one === 'presence'),
              ...further.input.value.split(/[\s,;]+/).filter(Boolean),
            ],
            labels: labels.read(),
          };
          const saved = id
            ? await save({ kind: 'device', id, to, mine, etag, base })
            : await api.create('/devices', mine);
          if (saved === null) return;
          close();
          if (!saved.theirs) notice(t('saved.named', { name: mine.id }));
        },
      },
    );
    async function remove() {
      try {
        const { items, total } = await api.get(`/beacons${api.query({ q: id, limit: 100 })}`);
        const mine = items.filter(beacon => beacon.device === id).map(beacon => beacon.id);
        const text = mine.length
          ? `${t('remove.device')} ${t('remove.device.beacons', { beacons: mine.join(', ') + (total > 100 ? ' …' : '') })}`
          : t('remove.device');
        if (await removeRecord({ kind: 'device', id, to: `${to}?beacons=remove`, etag, text })) close();
      } catch (problem) {
        showProblem(element.faults, problem);
      }
    }
    return element;
  });
}
