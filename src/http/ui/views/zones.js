// All zones, of all levels.

import { h } from '../dom.js';
import { area, number, t } from '../i18n.js';
import { levelOf, may, model } from '../model.js';
import { hueOf } from '../map/layers.js';
import { shapeArea } from '../map/geometry.js';
import { empty } from '../notices.js';
import { choice } from '../forms.js';
import { list, listPage } from './list.js';

const draw = () =>
  h('a', { class: 'button primary', href: `#/map/${model.levels[0]?.ordinal ?? 0}/draw` }, t('tool.draw'));

export function show({ signal }) {
  const level = choice(
    t('field.level'),
    [['', t('all')], ...model.levels.map(one => [String(one.ordinal), one.name])],
    '',
  );
  const { search, place, again } = list({
    collection: 'zones',
    kind: 'zone',
    signal,
    caption: t('page.zones'),
    filter: () => ({ level: level.input.value }),
    none: () => empty(t('zones.empty'), t('zones.empty.text'), may('editor') && draw()),
    columns: [
      [
        t('field.name'),
        ({ properties }) =>
          h(
            'span',
            { class: 'row' },
            h('span', { class: `swatch hue-${hueOf(properties.id)}`, 'aria-hidden': 'true' }),
            properties.name || properties.id,
          ),
      ],
      [t('field.id'), ({ properties }) => h('code', null, properties.id)],
      [
        t('field.level'),
        ({ properties }) =>
          properties.level === null ? t('zones.whole') : (levelOf(properties.level)?.name ?? String(properties.level)),
      ],
      [t('zone.size'), ({ shape_m }) => (shape_m ? area(shapeArea(shape_m)) : '–'), 'number'],
      [t('zones.inside'), ({ properties }) => number(model.occupancy.get(properties.id) ?? 0), 'number'],
      [
        '',
        ({ properties, shape_m }) => [
          shape_m &&
            h(
              'a',
              {
                class: 'button small',
                href: `#/map/${properties.level}/zone/${encodeURIComponent(properties.id)}`,
                'aria-label': t('list.show-named', { name: properties.id }),
              },
              t('list.show'),
            ),
          ' ',
          may('editor') &&
            shape_m &&
            h(
              'a',
              {
                class: 'button small',
                href: `#/map/${properties.level}/edit-zone/${encodeURIComponent(properties.id)}`,
                'aria-label': t('list.edit-named', { name: properties.id }),
              },
              t('list.edit'),
            ),
        ],
        'actions',
      ],
    ],
  });
  level.input.addEventListener('change', again);
  return listPage({
    title: t('page.zones'),
    lead: t('zones.lead'),
    actions: may('editor') && draw(),
    search,
    filters: model.levels.length > 1 ? level : [],
    place,
  });
}
