// The form of a level: its number, name, height, and the walls, which are drawn or typed.

import * as api from '../../api.js';
import { save } from '../../conflict.js';
import { h, put } from '../../dom.js';
import { t } from '../../i18n.js';
import { field, form, numberField } from '../../forms.js';
import { model } from '../../model.js';
import { drawing } from '../../map/draw.js';
import { loading, notice, problemBox, showProblem } from '../../notices.js';
import { removeRecord } from '../../removal.js';
import { shapeTable } from './shape_table.js';

/** The form of the level `ordinal`, or of a new one where it is null. */
export function levelForm(map, ordinal, signal) {
  if (ordinal === null) return build(map, null, null, signal);
  const place = h('div', null, loading());
  api
    .getRecord(api.path('levels', ordinal))
    .then(({ record, etag }) => {
      if (!signal.aborted) put(place, build(map, record, etag, signal));
    })
    .catch(problem => put(place, problemBox(problem)));
  return place;
}

function build(map, level, etag, signal) {
  const isNew = level === null;
  const highest = model.levels.at(-1);
  const number = numberField(t('field.ordinal'), {
    value: level?.ordinal ?? (highest ? highest.ordinal + 1 : 0),
    step: 1,
    min: -50,
    max: 200,
    required: true,
    readonly: !isNew,
    hint: t('level.ordinal.hint'),
  });
  const name = field(t('field.name'), {
    value: level?.name ?? '',
    required: true,
    placeholder: t('level.name.placeholder'),
  });
  const elevation = numberField(t('field.elevation'), {
    value: level?.elevation ?? (highest ? highest.elevation + 4 : 0),
    unit: 'm',
    required: true,
    hint: t('level.elevation.hint'),
  });
  let outline = level?.outline ?? null;
  const walls = h('div');

  function drawWalls() {
    map.stopDraft();
    if (!outline) {
      put(
        walls,
        h(
          'fieldset',
          null,
          h('legend', null, t('level.outline')),
          h('p', { class: 'hint' }, t('level.outline.hint')),
          !isNew &&
            h(
              'button',
              { type: 'button', class: 'small', onclick: event => begin('rectangle', event.detail === 0) },
              t('level.draw-rectangle'),
            ),
          !isNew &&
            h(
              'button',
              { type: 'button', class: 'small', onclick: event => begin('polygon', event.detail === 0) },
              t('level.draw-polygon'),
            ),
        ),
      );
      return;
    }
    const table = shapeTable({ polygons: [[outline]] }, typed => {
      [[outline]] = typed.polygons;
      map.draft?.set(typed);
    });
    put(
      walls,
      h('p', { class: 'hint' }, t('level.outline.hint')),
      table,
      h(
        'button',
        {
          type: 'button',
          class: 'small',
          onclick: () => {
            outline = null;
            drawWalls();
          },
        },
        t('level.no-outline'),
      ),
    );
    if (isNew) return;
    map.startDraft(
      { polygons: [[outline]] },
      {
        hide: 'outline',
        changed: drawn => {
          [[outline]] = drawn.polygons;
          table.show(drawn);
        },
      },
    );
  }

  function begin(kind, byKeyboard) {
    const done = shape => {
      map.tell(null);
      [[outline]] = shape.polygons;
      drawWalls();
    };
    if (byKeyboard) {
      done({
        polygons: [
          [
            [
              [0, 0],
              [20, 0],
              [20, 12],
              [0, 12],
            ],
          ],
        ],
      });
      return;
    }
    map.tell(t(`hint.${kind}`));
    map.viewport.use(drawing(map.viewport, kind, { aim: () => map.aim(), done, cancel: () => map.tell(null) }));
  }

  drawWalls();
  const element = form([name, h('div', { class: 'two' }, number, elevation), walls], {
    cancel: () => map.overview(),
    extra:
      !isNew &&
      model.levels.length > 1 &&
      h('button', { type: 'button', class: 'danger-plain', onclick: () => remove() }, t('remove.do')),
    send: async () => {
      const mine = {
        ordinal: number.number(),
        name: name.input.value.trim(),
        elevation: elevation.number(),
        outline,
        plan: level?.plan ?? null,
      };
      const to = api.path('levels', mine.ordinal);
      const saved = isNew
        ? await api.put(to, mine, null)
        : await save({ kind: 'level', id: mine.ordinal, to, mine, etag, base: level });
      if (saved === null) return;
      model.levels = [
        ...model.levels.filter(one => one.ordinal !== mine.ordinal),
        ...(saved.gone ? [] : [saved.record]),
      ].sort((a, b) => a.ordinal - b.ordinal);
      map.stopDraft();
      map.showLevel(mine.ordinal);
      map.overview();
      if (!saved.theirs) notice(t('saved.named', { name: mine.name }));
    },
  });
  requestAnimationFrame(() => !signal.aborted && name.input.focus());
  return [h('h2', { tabindex: '-1' }, isNew ? t('level.new') : t('level.edit')), element];

  async function remove() {
    try {
      if (!(await removeRecord({ kind: 'level', id: level.ordinal, to: api.path('levels', level.ordinal), etag })))
        return;
      map.stopDraft();
      model.levels = model.levels.filter(one => one.ordinal !== level.ordinal);
      map.showLevel(model.levels[0].ordinal);
      map.overview();
    } catch (problem) {
      showProblem(element.faults, problem);
    }
  }
}
