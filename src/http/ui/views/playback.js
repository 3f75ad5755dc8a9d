// Playback: where devices were, along a time-line, and where they stayed longest. Only where recording is switched on.

import * as api from '../api.js';
import { h, put, say, svg } from '../dom.js';
import { duration, instant, now, t } from '../i18n.js';
import { choice, field } from '../forms.js';
import { model } from '../model.js';
import { Layers } from '../map/layers.js';
import { scaleBar } from '../map/scale.js';
import { Viewport } from '../map/viewport.js';
import { empty, problemBox } from '../notices.js';

const HOUR_MS = 3_600_000;
const SPEEDS = [1, 10, 60, 300];
/** Colours of the heat map are steps: half as long is one step less. */
const STEPS = 7;

export async function show({ signal }) {
  const to = new Date(now());
  const from = new Date(to - HOUR_MS);
  const begin = field(t('playback.from'), { type: 'datetime-local', value: local(from), step: 1, required: true });
  const end = field(t('playback.to'), { type: 'datetime-local', value: local(to), step: 1, required: true });
  const device = field(t('playback.device'), { placeholder: t('playback.everybody') });
  const mode = choice(
    t('playback.mode'),
    [
      ['line', t('playback.line')],
      ['heat', t('playback.heat')],
    ],
    'line',
  );
  const level = choice(
    t('field.level'),
    model.levels.map(one => [String(one.ordinal), one.name]),
    String(model.levels[0]?.ordinal ?? 0),
  );
  const go = h('button', { type: 'submit', class: 'primary' }, t('playback.show'));
  const form = h('form', { class: 'filters' }, mode, begin, end, device, model.levels.length > 1 && level, go);
  const place = h('div', { class: 'stack' });
  const faults = h('div');
  const viewport = new Viewport(signal);
  const layers = new Layers(viewport, signal);
  const stage = h('div', { class: 'stage playback' }, viewport.element, scaleBar(viewport));
  const line = timeline(viewport, signal, () => Number(level.input.value));
  const legend = h('p', { class: 'hint', role: 'status' });
  let shown = false;

  async function load() {
    const range = { from: new Date(begin.input.value).toISOString(), to: new Date(end.input.value).toISOString() };
    const heat = mode.input.value === 'heat';
    go.disabled = true;
    put(faults);
    try {
      const answer = heat
        ? await api.get(`/heatmap${api.query({ ...range, level: level.input.value, cell: 1 })}`)
        : await api.get(`/playback${api.query({ ...range, device: device.input.value.trim() })}`);
      open();
      line.clear();
      put(viewport.heat);
      if (heat) drawHeat(answer);
      else line.take(answer);
      say(
        legend,
        heat
          ? answer.seconds.some(Boolean)
            ? t('playback.longest', { time: duration(Math.max(...answer.seconds)) })
            : t('playback.nothing')
          : answer.frames.length
            ? ''
            : t('playback.nothing'),
      );
      line.element.hidden = heat || answer.frames.length === 0;
    } catch (problem) {
      if (problem.status === undefined) throw problem;
      if (problem.name_ === 'not-recording') {
        put(
          place,
          h(
            'div',
            { class: 'card' },
            empty(t('playback.off'), t('playback.off.text')),
            h('pre', null, '[record]\ndays = 7'),
            h('p', { class: 'hint' }, t('playback.off.privacy')),
          ),
        );
        form.hidden = true;
      } else {
        put(faults, problemBox(problem));
      }
    } finally {
      go.disabled = false;
    }
  }

  function open() {
    if (shown) return;
    shown = true;
    put(place, faults, stage, line.element, legend);
    layers.show(Number(level.input.value));
    viewport.fit(layers.box());
  }

  function drawHeat({ cell, x0, y0, columns, seconds }) {
    const most = Math.max(...seconds, 1);
    put(
      viewport.heat,
      seconds.map((time, at) => {
        if (time <= 0) return null;
        const step = Math.max(1, STEPS + Math.ceil(Math.log2(time / most)));
        return svg('rect', {
          x: x0 + (at % columns) * cell,
          y: y0 + Math.floor(at / columns) * cell,
          width: cell,
          height: cell,
          'fill-opacity': 0.08 + (0.72 * step) / STEPS,
        });
      }),
    );
  }

  form.addEventListener('submit', event => {
    event.preventDefault();
    if (form.reportValidity()) load();
  });
  level.input.addEventListener('change', () => {
    if (!shown) return;
    layers.show(Number(level.input.value));
    viewport.fit(layers.box());
    if (mode.input.value === 'heat') load();
    else line.draw();
  });
  put(place, faults);
  await load();
  return [
    h('div', { class: 'viewhead' }, h('h1', null, t('page.playback'))),
    h('p', { class: 'lead' }, t('playback.lead')),
    form,
    place,
  ];
}

/** The time-line: a slider, play and pause, and how fast. */
function timeline(viewport, signal, level) {
  const slider = h('input', { type: 'range', min: 0, max: 0, value: 0, 'aria-label': t('playback.time') });
  const clock = h('output', { class: 'clock' });
  const play = h('button', { type: 'button', onclick: () => run(!running) }, t('playback.play'));
  const speed = h(
    'select',
    { 'aria-label': t('playback.speed'), value: '60' },
    SPEEDS.map(factor => h('option', { value: factor }, `${factor}×`)),
  );
  const element = h('div', { class: 'timeline', hidden: true }, play, slider, clock, speed);
  const group = svg('g', { class: 'devices' });
  const dots = new Map();
  viewport.marks.append(group);
  let frames = [];
  let running = false;
  let at = 0;
  let last = null;

  function run(value) {
    running = value && frames.length > 0;
    say(play, t(running ? 'playback.pause' : 'playback.play'));
    last = null;
    if (running && at >= Date.parse(frames.at(-1).at)) at = Date.parse(frames[0].at);
    if (running) requestAnimationFrame(step);
  }

  function step(now) {
    if (!running || signal.aborted) return;
    if (last !== null && !document.hidden) at += (now - last) * Number(speed.value);
    last = now;
    const end = Date.parse(frames.at(-1).at);
    if (at >= end) {
      at = end;
      run(false);
    }
    draw();
    if (running) requestAnimationFrame(step);
  }

  function draw() {
    if (frames.length === 0) return;
    let index = frames.findIndex(frame => Date.parse(frame.at) > at);
    index = index < 0 ? frames.length - 1 : Math.max(0, index - 1);
    slider.value = index;
    const text = instant(new Date(at).toISOString());
    say(clock, text);
    slider.setAttribute('aria-valuetext', text);
    const seen = new Set();
    for (const [id, on, x, y, accuracy] of frames[index].devices) {
      if (on !== level()) continue;
      seen.add(id);
      if (!dots.has(id)) dots.set(id, newDot(id));
      const dot = dots.get(id);
      dot.g.setAttribute('transform', viewport.place([x, y]));
      dot.ring.setAttribute('r', Math.max(6, accuracy * viewport.k));
    }
    for (const [id, dot] of dots) dot.g.classList.toggle('hidden', !seen.has(id));
  }

  function newDot(id) {
    const ring = svg('circle', { class: 'ring' });
    const g = svg(
      'g',
      { class: `device ${model.devices.get(id)?.kind ?? 'customer'}` },
      svg('title', null, id),
      ring,
      svg('circle', { class: 'dot', r: 5 }),
    );
    group.append(g);
    return { g, ring };
  }

  slider.addEventListener('input', () => {
    at = Date.parse(frames[slider.value].at);
    draw();
  });
  viewport.zoomListeners.add(draw);
  return {
    element,
    draw,
    clear() {
      run(false);
      frames = [];
      dots.clear();
      put(group);
    },
    take(answer) {
      frames = answer.frames;
      slider.max = Math.max(0, frames.length - 1);
      at = frames.length ? Date.parse(frames[0].at) : 0;
      draw();
    },
  };
}

/** An instant as a field of date and time takes it: local, to the second. */
function local(date) {
  return new Date(date - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
