// The floor plan of a level: uploaded, then put in its place by two points, or by origin, scale and bearing.

import * as api from '../../api.js';
import { h, put } from '../../dom.js';
import { metres, t } from '../../i18n.js';
import { field, form, numberField } from '../../forms.js';
import { model } from '../../model.js';
import {
  add,
  bounds,
  distance,
  pixelToSite,
  placementOf,
  planCorners,
  siteToPixel,
  subtract,
} from '../../map/geometry.js';
import { spot } from '../../map/spot.js';
import { notice, showProblem } from '../../notices.js';
import { removeRecord } from '../../removal.js';

const TYPES = { png: 'image/png', jpg: 'image/jpeg', jpeg: 'image/jpeg', svg: 'image/svg+xml' };
const MOST_BYTES = 10_000_000;
const FIT_MS = 700;

export function planPanel(map, signal) {
  const level = map.layers.record;
  const faults = h('div', { class: 'faults' });
  const file = field(t(level.plan ? 'plan.replace' : 'plan.file'), {
    type: 'file',
    accept: '.png,.jpg,.jpeg,.svg,image/png,image/jpeg,image/svg+xml',
    hint: t('plan.file.hint'),
  });
  file.input.addEventListener('change', () => file.input.files[0] && upload(file.input.files[0]));
  const head = h(
    'div',
    { class: 'panelhead' },
    h(
      'button',
      { type: 'button', class: 'plain square', 'aria-label': t('back'), title: t('back'), onclick: () => leave() },
      '←',
    ),
    h('h2', { tabindex: '-1' }, t('plan.title', { level: level.name })),
  );
  if (!level.plan) {
    requestAnimationFrame(() => file.input.focus());
    return [head, h('p', null, t('plan.none')), file, faults];
  }
  signal.addEventListener('abort', () => map.layers.record?.plan && map.layers.place(map.layers.record.plan));
  return [
    head,
    placing(map, level, signal, leave),
    h(
      'details',
      null,
      h('summary', null, t('plan.other')),
      file,
      faults,
      h('button', { type: 'button', class: 'danger-plain', onclick: () => remove() }, t('plan.remove')),
    ),
  ];

  function leave() {
    map.overview();
  }

  async function upload(chosen) {
    const type = TYPES[chosen.name.split('.').pop().toLowerCase()];
    put(faults);
    try {
      if (!type) throw new api.Problem(415, { detail: t('plan.type') });
      if (chosen.size > MOST_BYTES) throw new api.Problem(413, { detail: t('plan.large') });
      const to = `/levels/${level.ordinal}/plan`;
      await api.put(to, chosen, level.plan ? '*' : null, { type });
      await took();
      notice(t('plan.uploaded'));
      map.start('plan');
    } catch (problem) {
      showProblem(faults, problem);
    }
  }

  async function remove() {
    try {
      if (!(await removeRecord({ kind: 'plan', id: level.name, to: `/levels/${level.ordinal}/plan`, etag: '*' })))
        return;
      await took();
      map.overview();
    } catch (problem) {
      showProblem(faults, problem);
    }
  }

  async function took() {
    const record = await api.get(`/levels/${level.ordinal}`);
    model.levels = model.levels.map(one => (one.ordinal === record.ordinal ? record : one));
    map.layers.show(level.ordinal);
    map.viewport.fit(map.layers.box());
  }
}

/** Two points on the picture with their distance or coordinates, or numbers. What is set is shown at once. */
function placing(map, level, signal, leave) {
  let plan = { ...level.plan };
  const pixels = [
    [plan.width * 0.2, plan.height * 0.5],
    [plan.width * 0.8, plan.height * 0.5],
  ];
  const line = { from: null };
  const handles = pixels.map((pixel, index) =>
    spot(map.viewport, pixelToSite(plan, pixel), {
      label: t('plan.point', { n: 'AB'[index] }),
      kind: 'plan-point',
      text: 'AB'[index],
      changed: point => {
        pixels[index] = siteToPixel(plan, point);
        fill(length, distance(...pixels.map(one => pixelToSite(plan, one))));
        fillPoints();
        drawLine();
      },
    }),
  );
  const length = numberField(t('plan.distance'), { unit: 'm', min: 0.1, hint: t('plan.distance.hint') });
  const points = ['A', 'B'].map(name => ['x', 'y'].map(axis => numberField(`${name} ${axis}`, { unit: 'm' })));
  const numbers = {
    x: numberField('x', { unit: 'm', required: true }),
    y: numberField('y', { unit: 'm', required: true }),
    metres_per_pixel: numberField(t('plan.scale'), {
      unit: 'm',
      required: true,
      min: 0.00001,
      hint: t('plan.scale.hint'),
    }),
    bearing: numberField(t('plan.bearing'), { unit: '°', required: true, hint: t('plan.bearing.hint') }),
  };
  const size = h('p', { class: 'totals' });

  function drawLine() {
    const [a, b] = pixels.map(pixel => pixelToSite(plan, pixel));
    line.element ??= map.viewport.sketch.appendChild(document.createElementNS('http://www.w3.org/2000/svg', 'path'));
    line.element.setAttribute('class', 'ruler');
    line.element.setAttribute('d', `M${a.join(' ')}L${b.join(' ')}`);
  }

  function fillPoints() {
    pixels.forEach((pixel, index) =>
      pixelToSite(plan, pixel).forEach((value, axis) => fill(points[index][axis], value)),
    );
  }

  /** Shows a placement, in every field but those that are being typed in. */
  function apply(next) {
    if (
      !Object.values(next).every(value => typeof value !== 'number' || Number.isFinite(value)) ||
      !(next.metres_per_pixel > 0)
    )
      return;
    plan = { ...plan, ...next };
    map.layers.place(plan);
    handles.forEach((handle, index) => handle.set(pixelToSite(plan, pixels[index])));
    for (const [name, field] of Object.entries(numbers)) fill(field, plan[name], name === 'metres_per_pixel' ? 6 : 3);
    fill(length, distance(...pixels.map(pixel => pixelToSite(plan, pixel))));
    fillPoints();
    drawLine();
    const corners = planCorners(plan);
    size.textContent = t('plan.size', {
      width: metres(distance(corners[0], corners[1])),
      height: metres(distance(corners[1], corners[2])),
    });
  }

  /** The picture has become larger or smaller: all of it is shown again, once nobody types. */
  let fitting = null;
  const fit = () => {
    clearTimeout(fitting);
    fitting = setTimeout(() => !signal.aborted && map.viewport.fit(bounds(planCorners(plan))), FIT_MS);
  };

  length.input.addEventListener('input', () => {
    const metresApart = length.number();
    if (!(metresApart > 0)) return;
    const [a, b] = pixels.map(pixel => pixelToSite(plan, pixel));
    const grow = metresApart / distance(a, b);
    apply(
      placementOf([
        { px: pixels[0], m: a },
        {
          px: pixels[1],
          m: add(
            a,
            subtract(b, a).map(part => part * grow),
          ),
        },
      ]),
    );
    fit();
  });
  for (const field of points.flat()) {
    field.input.addEventListener('input', () => {
      const [a, b] = points.map(pair => pair.map(one => one.number()));
      if ([...a, ...b].some(value => value === null) || distance(a, b) < 0.1) return;
      apply(
        placementOf([
          { px: pixels[0], m: a },
          { px: pixels[1], m: b },
        ]),
      );
      fit();
    });
  }
  for (const field of Object.values(numbers)) {
    field.input.addEventListener('input', () => {
      const read = Object.fromEntries(Object.entries(numbers).map(([name, one]) => [name, one.number()]));
      if (Object.values(read).some(value => value === null)) return;
      apply(read);
      fit();
    });
  }
  apply(plan);
  signal.addEventListener('abort', () => {
    for (const handle of handles) handle.end();
    line.element?.remove();
  });

  const element = form(
    [
      h('ol', { class: 'how' }, h('li', null, t('plan.how.points')), h('li', null, t('plan.how.distance'))),
      length,
      h(
        'details',
        null,
        h('summary', null, t('plan.coordinates')),
        h('p', { class: 'hint' }, t('plan.coordinates.hint')),
        points.map(pair => h('div', { class: 'two' }, pair)),
      ),
      h(
        'details',
        null,
        h('summary', null, t('plan.numbers')),
        h('div', { class: 'two' }, numbers.x, numbers.y),
        h('div', { class: 'two' }, numbers.metres_per_pixel, numbers.bearing),
      ),
      size,
    ],
    {
      label: t('plan.save'),
      cancel: leave,
      send: async () => {
        const { etag } = await api.getRecord(`/levels/${level.ordinal}`);
        const { x, y, metres_per_pixel, bearing } = plan;
        const { record } = await api.put(
          `/levels/${level.ordinal}/plan/placement`,
          { x, y, metres_per_pixel, bearing },
          etag,
        );
        model.levels = model.levels.map(one => (one.ordinal === record.ordinal ? record : one));
        map.layers.sync();
        map.viewport.fit(map.layers.box());
        map.overview();
        notice(t('plan.saved'));
      },
    },
  );
  return element;
}

/** Puts a number into a field, unless somebody is typing there. */
function fill(field, value, digits = 3) {
  if (document.activeElement !== field.input) field.input.value = String(Number(value.toFixed(digits)));
}
