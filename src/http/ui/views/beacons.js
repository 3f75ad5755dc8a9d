// All beacons: carried by a device, or fixed at a place.

import * as api from '../api.js';
import { save } from '../conflict.js';
import { dialog } from '../dialog.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { field, form, ID_PATTERN, numberField } from '../forms.js';
import { levelOf, may, model } from '../model.js';
import { empty, notice, showProblem } from '../notices.js';
import { removeRecord } from '../removal.js';
import { list, listPage } from './list.js';

export function show({ signal, rest }) {
  const add = () => [
    h('a', { class: 'button primary', href: '#/nearby' }, t('beacons.from-nearby')),
    h('button', { type: 'button', onclick: () => edit(null) }, t('beacons.add')),
  ];
  const rows = list({
    collection: 'beacons',
    kind: 'beacon',
    signal,
    caption: t('page.beacons'),
    q: rest[0] ?? '',
    none: () => empty(t('beacons.empty'), t('beacons.empty.text'), may('editor') && add()),
    columns: [
      [t('field.id'), beacon => beacon.id],
      [t('field.identity'), beacon => h('code', null, beacon.identity)],
      [
        t('beacons.where'),
        beacon =>
          beacon.device
            ? h('a', { href: `#/devices/${encodeURIComponent(beacon.device)}` }, beacon.device)
            : beacon.level === null
              ? '–'
              : t('beacons.fixed', { level: levelOf(beacon.level)?.name ?? beacon.level }),
      ],
      [
        '',
        beacon =>
          may('editor') &&
          (beacon.level !== null
            ? h(
                'a',
                {
                  class: 'button small',
                  href: `#/map/${beacon.level}/beacon/${encodeURIComponent(beacon.id)}`,
                  'aria-label': t('list.edit-named', { name: beacon.id }),
                },
                t('list.edit'),
              )
            : h(
                'button',
                {
                  type: 'button',
                  class: 'small',
                  'aria-label': t('list.edit-named', { name: beacon.id }),
                  onclick: () => edit(beacon.id),
                },
                t('list.edit'),
              )),
        'actions',
      ],
    ],
  });
  return listPage({
    title: t('page.beacons'),
    lead: t('beacons.lead'),
    actions: may('editor') && add(),
    search: rows.search,
    place: rows.place,
  });
}

/** The dialog of a carried beacon, new where `id` is null. */
async function edit(id) {
  let base = null;
  let etag = null;
  try {
    if (id) ({ record: base, etag } = await api.getRecord(api.path('beacons', id)));
  } catch (problem) {
    notice(problem.message, { kind: 'bad' });
    return;
  }
  dialog(id ? t('beacon.edit', { id }) : t('beacon.new'), close => {
    const name = field(t('field.id'), { value: id ?? '', required: true, pattern: ID_PATTERN, readonly: Boolean(id) });
    const identity = field(t('field.identity'), {
      value: base?.identity ?? '',
      required: true,
      hint: t('beacon.identity.hint'),
    });
    const device = field(t('field.device'), {
      value: base?.device ?? '',
      required: true,
      pattern: ID_PATTERN,
      hint: t('beacon.device.hint'),
    });
    const power = numberField(t('field.measured_power'), {
      value: base?.measured_power,
      unit: 'dBm',
      placeholder: String(model.site?.measured_power ?? -59),
      hint: t('beacon.power.hint'),
    });
    const to = id && api.path('beacons', id);
    const element = form([name, identity, device, power], {
      cancel: () => close(),
      extra: id && h('button', { type: 'button', class: 'danger-plain', onclick: () => remove() }, t('remove.do')),
      send: async () => {
        const mine = {
          id: name.input.value.trim(),
          identity: identity.input.value.trim(),
          device: device.input.value.trim(),
          x: null,
          y: null,
          level: null,
          measured_power: power.number(),
        };
        const saved = id
          ? await save({ kind: 'beacon', id, to, mine, etag, base })
          : await api.create('/beacons', mine);
        if (saved === null) return;
        close();
        if (!saved.theirs) notice(t('saved.named', { name: mine.id }));
      },
    });
    async function remove() {
      try {
        if (await removeRecord({ kind: 'beacon', id, to, etag })) close();
      } catch (problem) {
        showProblem(element.faults, problem);
      }
    }
    return element;
  });
}
