// What receivers and fixed beacons have in common: a form whose place is moved on the map, and saving it.

import * as api from '../../api.js';
import { save } from '../../conflict.js';
import { h, put } from '../../dom.js';
import { t } from '../../i18n.js';
import { choice, form, numberField } from '../../forms.js';
import { may, model } from '../../model.js';
import { spot } from '../../map/spot.js';
import { announce, loading, problemBox, showProblem } from '../../notices.js';
import { removeRecord } from '../../removal.js';

/** Loads the record that `id` names, then builds; at once where it is new. */
export function opened(collection, id, signal, build) {
  if (!id) return build(null, null);
  const place = h('div', null, loading());
  api
    .getRecord(api.path(collection, id))
    .then(({ record, etag }) => {
      if (!signal.aborted) put(place, build(record, etag));
    })
    .catch(problem => !signal.aborted && put(place, problemBox(problem)));
  return place;
}

/** The fields x, y and level, bound to a handle on the map. */
export function placeFields(map, record, point, label, signal) {
  const [x0, y0] = point ?? [record.x, record.y];
  const x = numberField('x', { value: x0, unit: 'm', required: true });
  const y = numberField('y', { value: y0, unit: 'm', required: true });
  const level = choice(
    t('field.level'),
    model.levels.map(one => [String(one.ordinal), one.name]),
    String(record?.level ?? map.level),
  );
  if (may('editor')) {
    const handle = spot(map.viewport, [x0, y0], {
      label,
      aim: () => map.aim(),
      kind: 'placed',
      changed: ([nx, ny]) => {
        x.input.value = nx;
        y.input.value = ny;
      },
    });
    for (const field of [x, y])
      field.input.addEventListener('input', () => handle.set([x.number() ?? 0, y.number() ?? 0]));
    signal.addEventListener('abort', () => handle.end());
  }
  return {
    fields: [h('div', { class: 'two' }, x, y), model.levels.length > 1 && level],
    read: () => ({ x: x.number(), y: y.number(), level: Number(level.input.value) }),
  };
}

/** The form of a placed record: saving, with two editors, and removing. */
export function placedForm(map, { kind, collection, base, etag, title, fields, read, facts }) {
  const key = base && `${kind}:${base.id}`;
  const leave = () => map.overview();
  const back = h(
    'button',
    { type: 'button', class: 'plain square', 'aria-label': t('back'), title: t('back'), onclick: leave },
    '←',
  );
  const head = h('div', { class: 'panelhead' }, back, h('h2', { tabindex: '-1' }, title));
  if (!may('editor')) return [head, facts];
  const element = form(fields, {
    cancel: leave,
    extra: base && h('button', { type: 'button', class: 'danger-plain', onclick: () => remove() }, t('remove.do')),
    send: async () => {
      const mine = read();
      const to = api.path(collection, mine.id);
      const saved = base
        ? await save({ kind, id: base.id, to, mine, etag, base })
        : await api.create(`/${collection}`, mine);
      if (saved === null) return;
      if (saved.gone) model[collection].delete(mine.id);
      else model[collection].set(mine.id, saved.record);
      map.layers.sync();
      map.overview();
      if (!saved.theirs) announce(t('saved.named', { name: mine.id }));
    },
  });
  if (key) map.mark(key);
  return [head, facts, element];

  async function remove() {
    try {
      if (!(await removeRecord({ kind, id: base.id, to: api.path(collection, base.id), etag }))) return;
      model[collection].delete(base.id);
      map.layers.sync();
      map.overview();
    } catch (problem) {
      showProblem(element.faults, problem);
    }
  }
}
