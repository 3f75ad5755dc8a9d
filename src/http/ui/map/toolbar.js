// The tools over the map: what to draw and place, snapping, the grid, undo and redo.

import { h, icon } from '../dom.js';
import { t } from '../i18n.js';
import { may } from '../model.js';

/** The toolbar of a map page. A tool that is started from the keyboard needs no pointer. */
export function toolbar(map, signal) {
  const tools = new Map();
  const button = (name, symbol, start) => {
    const element = h(
      'button',
      {
        type: 'button',
        class: 'tool',
        'aria-pressed': 'false',
        title: t(`tool.${name}.title`),
        'data-tool': name,
        onclick: event => start(event.detail === 0),
      },
      icon(symbol),
      h('span', null, t(`tool.${name}`)),
    );
    tools.set(name, element);
    return element;
  };
  const toggle = (name, symbol, pressed, change) => {
    const element = h(
      'button',
      {
        type: 'button',
        class: 'square',
        'aria-label': t(`tool.${name}`),
        title: t(`tool.${name}`),
        'aria-pressed': String(pressed),
        onclick: () => element.setAttribute('aria-pressed', String(change())),
      },
      icon(symbol),
    );
    return element;
  };
  const undo = h(
    'button',
    {
      type: 'button',
      class: 'square',
      disabled: true,
      'aria-label': t('undo'),
      title: `${t('undo')} (Ctrl+Z)`,
      onclick: () => map.draft?.undo(),
    },
    icon('undo'),
  );
  const redo = h(
    'button',
    {
      type: 'button',
      class: 'square',
      disabled: true,
      'aria-label': t('redo'),
      title: `${t('redo')} (Ctrl+Y)`,
      onclick: () => map.draft?.redo(),
    },
    icon('redo'),
  );
  const snapping = toggle('snap', 'magnet', map.snapping, () => {
    map.snapping = !map.snapping;
    localStorage.setItem('snap', map.snapping ? 'on' : 'off');
    return map.snapping;
  });
  const steps = h('div', { class: 'group' }, undo, redo);
  const element = h(
    'div',
    { class: 'tools', role: 'toolbar', 'aria-label': t('map.tools') },
    may('editor') && [
      h(
        'div',
        { class: 'group labelled' },
        h('span', { class: 'grouplabel', id: 'draw-label' }, t('tool.draw')),
        button('rectangle', 'rectangle', keyboard => map.draw('rectangle', keyboard)),
        button('polygon', 'polygon', keyboard => map.draw('polygon', keyboard)),
        button('circle', 'circle', keyboard => map.draw('circle', keyboard)),
      ),
      h(
        'div',
        { class: 'group labelled' },
        h('span', { class: 'grouplabel' }, t('tool.place')),
        button('receiver', 'receivers', keyboard => map.placeReceiver(keyboard)),
        button('beacon', 'beacons', keyboard => map.placeBeacon({}, keyboard)),
      ),
      h(
        'div',
        { class: 'group' },
        button('plan', 'plan', () => map.start('plan')),
      ),
    ],
  );
  const more = h(
    'div',
    { class: 'tools', role: 'group', 'aria-label': t('map.aids') },
    h(
      'div',
      { class: 'group' },
      may('editor') && snapping,
      toggle('grid', 'grid', map.grid.shown, () => map.grid.toggle()),
    ),
    may('editor') && steps,
  );

  // A tool that ends by itself, or by Escape, is no longer pressed.
  const use = map.viewport.use.bind(map.viewport);
  map.viewport.use = tool => {
    use(tool);
    for (const one of tools.values()) one.setAttribute('aria-pressed', 'false');
  };
  document.addEventListener(
    'keydown',
    event => {
      if (!map.draft || !(event.ctrlKey || event.metaKey) || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName))
        return;
      const key = event.key.toLowerCase();
      if (key === 'z' && !event.shiftKey) map.draft.undo();
      else if (key === 'y' || (key === 'z' && event.shiftKey)) map.draft.redo();
      else return;
      event.preventDefault();
    },
    { signal },
  );

  return {
    element,
    more,
    active(name) {
      tools.get(name)?.setAttribute('aria-pressed', 'true');
    },
    steps() {
      undo.disabled = !map.draft?.canUndo;
      redo.disabled = !map.draft?.canRedo;
    },
  };
}
