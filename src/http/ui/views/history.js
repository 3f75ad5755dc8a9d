// What was changed in the registry, by whom; and a way to take it back.

import * as api from '../api.js';
import { differences } from '../conflict.js';
import { confirm, dialog } from '../dialog.js';
import { h, put } from '../dom.js';
import { instant, number, t, tn, word } from '../i18n.js';
import { may, on } from '../model.js';
import { empty, load, loading, problemBox } from '../notices.js';
import { undo } from '../removal.js';

const PAGE = 50;

export function show({ signal }) {
  const list = h('ol', { class: 'changes' });
  const more = h('div', { class: 'row' });
  let cursor = null;

  async function draw() {
    const first = cursor === null;
    if (first) put(list, h('li', null, loading()));
    try {
      const answer = await api.get(`/history${api.query({ limit: PAGE, cursor })}`, { signal });
      const items = answer.items.map(change => item(change));
      if (first)
        put(list, items.length ? items : h('li', { class: 'card' }, empty(t('history.none'), t('history.none.text'))));
      else list.append(...items);
      cursor = answer.next ?? null;
      put(more, cursor && h('button', { type: 'button', onclick: draw }, t('history.more')));
    } catch (problem) {
      if (problem.name !== 'AbortError') put(list, h('li', null, problemBox(problem)));
    }
  }

  on(
    'registry',
    () => {
      if (list.contains(document.activeElement)) return;
      cursor = null;
      draw();
    },
    signal,
  );
  draw();
  return [
    h('div', { class: 'viewhead' }, h('h1', null, t('page.history'))),
    h('p', { class: 'lead' }, t('history.lead')),
    list,
    more,
  ];

  function item(change) {
    const names = (change.items ?? [])
      .slice(0, 6)
      .map(one => `${word('kind.', one.kind)} ${one.id}`)
      .join(', ');
    const total = ['added', 'changed', 'removed'].reduce((sum, name) => sum + (change.counts?.[name] ?? 0), 0);
    return h(
      'li',
      { class: 'card change' },
      h(
        'div',
        null,
        h(
          'p',
          null,
          h('strong', null, what(change)),
          ' ',
          names,
          total > 6 ? ` ${t('history.and-more', { n: number(total - 6) })}` : '',
        ),
        h(
          'p',
          { class: 'hint' },
          `${instant(change.at)} · ${change.by} · ${t('history.revision', { n: number(change.revision) })}`,
        ),
      ),
      h(
        'div',
        { class: 'row' },
        total > 0 && h('button', { type: 'button', class: 'small', onclick: () => look(change) }, t('history.look')),
        may('editor') &&
          change.action !== 'start' &&
          total > 0 &&
          h('button', { type: 'button', class: 'small', onclick: () => takeBack(change) }, t('history.undo')),
      ),
    );
  }

  async function takeBack(change) {
    if (!(await confirm(t('history.undo.title'), t('history.undo.text'), t('history.undo'), { dangerous: false })))
      return;
    if (await undo(change.revision)) {
      cursor = null;
      draw();
    }
  }
}

function what(change) {
  if (change.undoes) return t('history.undid', { n: number(change.undoes) });
  const counts = ['added', 'changed', 'removed']
    .filter(name => change.counts?.[name])
    .map(name => tn(`history.${name}`, change.counts[name]));
  return `${word('history.action.', change.action)}: ${counts.join(', ')}.`;
}

function look(change) {
  dialog(
    t('history.look.title', { n: number(change.revision) }),
    () => {
      const place = h('div', { class: 'stack' });
      load(place, async () => {
        const full = await api.get(`/history/${change.revision}`);
        return full.items.slice(0, 100).map(one =>
          h(
            'section',
            null,
            h('h3', null, `${word('kind.', one.kind)} ${one.id}: ${word('history.done.', one.action)}`),
            h(
              'table',
              { class: 'compare' },
              h(
                'thead',
                null,
                h(
                  'tr',
                  null,
                  [t('conflict.field'), t('conflict.before'), t('history.after')].map(text =>
                    h('th', { scope: 'col' }, text),
                  ),
                ),
              ),
              h(
                'tbody',
                null,
                differences(one.before ?? {}, one.after ?? {}, one.before ?? {}).map(row =>
                  h(
                    'tr',
                    null,
                    h('th', { scope: 'row' }, word('field.', row.name)),
                    h('td', null, row.base),
                    h('td', { class: 'changed' }, row.theirs),
                  ),
                ),
              ),
            ),
          ),
        );
      });
      return place;
    },
    { wide: true },
  );
}
