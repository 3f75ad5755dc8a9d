// A shape as numbers: the corners in a table, or the centre and radius of a circle. What is typed is drawn, and the
// other way round.

import { h, icon, put, say } from '../../dom.js';
import { area, t } from '../../i18n.js';
import { crossesItself, rounded, shapeArea } from '../../map/geometry.js';

/** The table of a shape. `typed(shape)` is called on input; `show(shape)` takes what was drawn. */
export function shapeTable(shape, typed) {
  let current = structuredClone(shape);
  const size = h('p', { class: 'totals' });
  const fault = h('p', { class: 'fault', role: 'alert' });
  const place = h('div');
  const element = h('fieldset', { class: 'shape' }, h('legend', null, t('shape.title')), size, fault, place);

  function number(label, value, change) {
    const input = h('input', {
      type: 'number',
      step: 'any',
      inputmode: 'decimal',
      value: round(value),
      'aria-label': label,
      required: true,
    });
    input.addEventListener('change', () => {
      if (!input.checkValidity()) return;
      change(Number(input.value));
      update();
    });
    return input;
  }

  function update() {
    totals();
    typed(structuredClone(current));
  }

  function totals() {
    say(size, area(shapeArea(current)));
    const bad = current.polygons?.flat().some(crossesItself);
    say(fault, bad ? t('shape.crosses') : '');
  }

  function circle() {
    return h(
      'div',
      { class: 'three' },
      labelled(
        'x (m)',
        number(t('shape.centre-x'), current.centre[0], value => {
          current.centre[0] = value;
        }),
      ),
      labelled(
        'y (m)',
        number(t('shape.centre-y'), current.centre[1], value => {
          current.centre[1] = value;
        }),
      ),
      labelled(
        t('shape.radius'),
        number(t('shape.radius'), current.radius, value => {
          current.radius = Math.max(0.1, value);
        }),
      ),
    );
  }

  function ring(p, r) {
    const corners = current.polygons[p][r];
    const several = current.polygons.length > 1 || current.polygons[0].length > 1;
    const title = several ? t(r === 0 ? 'shape.part' : 'shape.hole', { n: r === 0 ? p + 1 : r }) : null;
    return [
      title && h('h4', null, title),
      h(
        'table',
        { class: 'corners' },
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            h('th', { scope: 'col' }, t('shape.corner')),
            h('th', { scope: 'col' }, 'x (m)'),
            h('th', { scope: 'col' }, 'y (m)'),
            h('td'),
          ),
        ),
        h(
          'tbody',
          null,
          corners.map((corner, i) =>
            h(
              'tr',
              null,
              h('th', { scope: 'row' }, String(i + 1)),
              h(
                'td',
                null,
                number(t('shape.x-of', { n: i + 1 }), corner[0], value => {
                  corners[i] = [value, corners[i][1]];
                }),
              ),
              h(
                'td',
                null,
                number(t('shape.y-of', { n: i + 1 }), corner[1], value => {
                  corners[i] = [corners[i][0], value];
                }),
              ),
              h(
                'td',
                null,
                h(
                  'button',
                  {
                    type: 'button',
                    class: 'plain square',
                    'aria-label': t('shape.remove-corner', { n: i + 1 }),
                    disabled: corners.length <= 3,
                    onclick: () => {
                      corners.splice(i, 1);
                      draw();
                      update();
                    },
                  },
                  icon('close'),
                ),
              ),
            ),
          ),
        ),
      ),
      h(
        'button',
        {
          type: 'button',
          class: 'small',
          onclick: () => {
            const [last, first] = [corners.at(-1), corners[0]];
            corners.push(rounded([(last[0] + first[0]) / 2, (last[1] + first[1]) / 2]));
            draw();
            update();
            [...place.querySelectorAll('table')].at(-1).querySelector('tbody tr:last-child input').focus();
          },
        },
        icon('plus'),
        t('shape.add-corner'),
      ),
    ];
  }

  function draw() {
    put(
      place,
      current.centre ? circle() : current.polygons.flatMap((polygon, p) => polygon.flatMap((_, r) => ring(p, r))),
    );
    totals();
  }

  draw();
  element.show = next => {
    current = structuredClone(next);
    // A field that is being typed in keeps the focus.
    const focused = [...place.querySelectorAll('input')].indexOf(document.activeElement);
    draw();
    if (focused >= 0) place.querySelectorAll('input')[focused]?.focus();
  };
  return element;
}

const round = value => Math.round(value * 1000) / 1000;
const labelled = (text, input) => h('label', null, h('span', null, text), input);
