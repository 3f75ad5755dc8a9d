// The form of a zone, new or there already, beside its shape on the map.

import * as api from '../../api.js';
import { save } from '../../conflict.js';
import { h, put } from '../../dom.js';
import { t } from '../../i18n.js';
import { choice, field, form, ID_PATTERN, numberField, pairs, suggestId } from '../../forms.js';
import { model } from '../../model.js';
import { loading, notice, problemBox } from '../../notices.js';
import { shapeTable } from './shape_table.js';

const DURATION = '(\\d+(\\.\\d+)?(ms|s|m|h|d))+';
/** What holds where a zone says nothing: shown in the empty fields. */
const DEFAULTS = {
  enter_probability: 0.5,
  enter_after: '1s',
  exit_probability: 0.2,
  exit_after: '5s',
  lost_after: '60s',
  max_hold: '30m',
  margin_m: 0,
};

/** `{shape}` for a new zone, `{id}` for one that is there. */
export function zoneForm(map, { id, shape }, signal) {
  if (!id) return build(map, null, null, shape, signal);
  const place = h('div', null, loading());
  api
    .getRecord(api.path('zones', id))
    .then(({ record, etag }) => {
      if (!signal.aborted) put(place, build(map, record, etag, record.shape_m, signal));
    })
    .catch(problem => put(place, problemBox(problem)));
  return place;
}

function build(map, zone, etag, shape, signal) {
  const isNew = zone === null;
  const properties = zone?.properties ?? {};
  let current = shape;
  const name = field(t('field.name'), {
    value: properties.name ?? '',
    required: true,
    maxlength: 200,
    placeholder: t('zone.name.placeholder'),
  });
  const id = field(t('field.id'), {
    value: properties.id ?? '',
    pattern: ID_PATTERN,
    required: true,
    hint: t('zone.id.hint'),
    readonly: !isNew,
  });
  if (isNew) {
    let touched = false;
    id.input.addEventListener('input', () => {
      touched = true;
    });
    name.input.addEventListener('input', () => {
      if (!touched)
        id.input.value = name.input.value.trim() ? suggestId(name.input.value, taken => model.zones.has(taken)) : '';
    });
  }
  const level = choice(
    t('field.level'),
    model.levels.map(one => [String(one.ordinal), one.name]),
    String(properties.level ?? map.level),
  );
  const labels = pairs(t('field.labels'), properties.labels);
  const presence = presenceFields(properties);
  const metadata = field(t('field.metadata'), {
    input: h('textarea', {
      rows: 4,
      spellcheck: 'false',
      value: Object.keys(properties.metadata ?? {}).length ? JSON.stringify(properties.metadata, null, 2) : '',
    }),
    hint: t('zone.metadata.hint'),
  });
  metadata.input.addEventListener('input', () =>
    metadata.input.setCustomValidity(readJson(metadata.input.value) === undefined ? t('zone.metadata.bad') : ''),
  );

  const table =
    shape &&
    shapeTable(shape, typed => {
      current = typed;
      map.draft?.set(typed);
    });
  if (shape) {
    map.startDraft(shape, {
      except: properties.id,
      hide: isNew ? null : `zone:${properties.id}`,
      changed: drawn => {
        current = drawn;
        table.show(drawn);
      },
    });
    map.tell(t('hint.edit'));
  }

  const leave = () => (isNew ? map.overview() : map.start('zone', properties.id));
  const element = form(
    [
      name,
      id,
      model.levels.length > 1 && level,
      table,
      h(
        'details',
        null,
        h('summary', null, t('zone.advanced')),
        h('p', { class: 'hint' }, t('zone.advanced.text')),
        presence.fields,
      ),
      h(
        'details',
        { open: Object.keys(properties.labels ?? {}).length > 0 },
        h('summary', null, t('zone.more')),
        labels,
        metadata,
      ),
    ],
    {
      cancel: leave,
      send: async () => {
        const record = {
          type: 'Feature',
          properties: {
            id: id.input.value,
            name: name.input.value.trim(),
            level: shape ? Number(level.input.value) : null,
            labels: labels.read(),
            metadata: readJson(metadata.input.value) ?? {},
            ...presence.read(),
          },
          ...(shape ? { shape_m: current } : { geometry: null }),
        };
        const saved = isNew
          ? await api.create('/zones', record)
          : await save({
              kind: 'zone',
              id: properties.id,
              to: api.path('zones', properties.id),
              mine: record,
              etag,
              base: zone,
            });
        if (saved === null) return;
        if (saved.gone) model.zones.delete(properties.id);
        else model.zones.set(record.properties.id, saved.record);
        map.stopDraft();
        map.layers.sync();
        if (saved.gone) map.overview();
        else map.start('zone', record.properties.id);
        if (!saved.theirs) notice(t(isNew ? 'zone.saved.new' : 'zone.saved', { name: record.properties.name }));
      },
    },
  );
  requestAnimationFrame(() => !signal.aborted && (isNew ? name.input.focus() : name.input.select()));
  return [h('h2', { tabindex: '-1' }, isNew ? t('zone.new') : t('zone.edit')), element];
}

function presenceFields(values) {
  const inputs = {};
  const keep = (name, element) => {
    inputs[name] = element.input;
    return element;
  };
  const share = name =>
    keep(
      name,
      numberField(t(`field.${name}`), {
        value: values[name],
        min: 0,
        max: 1,
        step: 0.01,
        placeholder: DEFAULTS[name],
        hint: t(`hint.${name}`),
      }),
    );
  const time = name =>
    keep(
      name,
      field(t(`field.${name}`), {
        value: values[name] ?? '',
        pattern: DURATION,
        placeholder: DEFAULTS[name],
        hint: t(`hint.${name}`),
      }),
    );
  const fields = [
    h('div', { class: 'two' }, share('enter_probability'), time('enter_after')),
    h('div', { class: 'two' }, share('exit_probability'), time('exit_after')),
    h('div', { class: 'two' }, time('lost_after'), time('max_hold')),
    h(
      'div',
      { class: 'two' },
      keep(
        'dwell',
        field(t('field.dwell'), {
          value: (values.dwell ?? []).join(' '),
          pattern: `(\\s*${DURATION}[\\s,;]*)*`,
          placeholder: '30s 2m',
          hint: t('hint.dwell'),
        }),
      ),
      keep(
        'margin_m',
        numberField(t('field.margin_m'), {
          value: values.margin_m,
          min: -50,
          max: 50,
          unit: 'm',
          placeholder: '0',
          hint: t('hint.margin_m'),
        }),
      ),
    ),
  ];
  const number = name => (inputs[name].value === '' ? null : Number(inputs[name].value));
  const text = name => inputs[name].value.trim() || null;
  return {
    fields,
    read: () => {
      const read = {
        enter_probability: number('enter_probability'),
        enter_after: text('enter_after'),
        exit_probability: number('exit_probability'),
        exit_after: text('exit_after'),
        lost_after: text('lost_after'),
        max_hold: text('max_hold'),
        margin_m: number('margin_m'),
        dwell: inputs.dwell.value.split(/[\s,;]+/).filter(Boolean),
      };
      // What is left empty is not sent: the gateway's defaults hold, whatever they become.
      return Object.fromEntries(Object.entries(read).filter(([, value]) => value !== null));
    },
  };
}

/** The object that a text says; `{}` where it is empty, undefined where it is none. */
function readJson(text) {
  if (!text.trim()) return {};
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}
