// A list of the registry: search, pages, and a row for each record.

import * as api from '../api.js';
import { h, put } from '../dom.js';
import { number, t } from '../i18n.js';
import { on } from '../model.js';
import { empty, loading, problemBox } from '../notices.js';

const PAGE = 50;
const TYPING_MS = 250;

/**
 * A list of `collection`. `columns` are `[heading, cell(record), class]`; `none` are the texts of an empty list;
 * `kind` says which changes make it load again; `filter()` gives further query values.
 */
export function list({ collection, kind, columns, none, signal, caption, filter = () => ({}), q = '' }) {
  const search = h('input', {
    type: 'search',
    placeholder: t('list.search'),
    'aria-label': t('list.search'),
    autocomplete: 'off',
    value: q,
  });
  const place = h('div', { class: 'stack', 'aria-live': 'off' });
  const cursors = [null];
  let timer = null;
  let last = 0;

  async function draw({ quiet = false } = {}) {
    last += 1;
    const mine = last;
    if (!quiet) put(place, loading());
    try {
      const answer = await api.get(
        `/${collection}${api.query({ q: search.value.trim(), limit: PAGE, cursor: cursors.at(-1), ...filter() })}`,
        { signal },
      );
      if (mine === last && !signal.aborted) show(answer);
    } catch (problem) {
      if (problem.name === 'AbortError' || mine !== last) return;
      if (problem.status === undefined) throw problem;
      put(
        place,
        problemBox(problem),
        h('p', null, h('button', { type: 'button', onclick: () => draw() }, t('try-again'))),
      );
    }
  }

  function show(answer) {
    const records = answer.items ?? answer.features;
    if (records.length === 0) {
      put(
        place,
        h(
          'div',
          { class: 'card' },
          search.value.trim() ? empty(t('list.none-found'), t('list.none-found.text')) : none(),
        ),
      );
      return;
    }
    const from = (cursors.length - 1) * PAGE + 1;
    const step = change => {
      change();
      draw();
    };
    put(
      place,
      h(
        'div',
        { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
        h(
          'table',
          { class: 'records' },
          h('caption', { class: 'sr' }, caption),
          h(
            'thead',
            null,
            h(
              'tr',
              null,
              columns.map(([heading, , kind]) =>
                h('th', { scope: 'col', class: kind }, heading || h('span', { class: 'sr' }, t('list.actions'))),
              ),
            ),
          ),
          h(
            'tbody',
            null,
            records.map(record =>
              h(
                'tr',
                null,
                columns.map(([heading, cell, style], at) =>
                  h(
                    at === 0 ? 'th' : 'td',
                    { scope: at === 0 ? 'row' : null, class: style, 'data-label': at > 0 && heading ? heading : null },
                    cell(record),
                  ),
                ),
              ),
            ),
          ),
        ),
      ),
      h(
        'div',
        { class: 'pager' },
        h(
          'span',
          null,
          t('list.range', { from: number(from), to: number(from + records.length - 1), total: number(answer.total) }),
        ),
        h(
          'div',
          { class: 'row' },
          h(
            'button',
            {
              type: 'button',
              class: 'small',
              disabled: cursors.length === 1,
              onclick: () => step(() => cursors.pop()),
            },
            t('list.previous'),
          ),
          h(
            'button',
            {
              type: 'button',
              class: 'small',
              disabled: !answer.next,
              onclick: () => step(() => cursors.push(answer.next)),
            },
            t('list.next'),
          ),
        ),
      ),
    );
  }

  search.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      cursors.length = 1;
      draw({ quiet: true });
    }, TYPING_MS);
  });
  on(
    'registry',
    change => (!change?.items || change.items.some(item => item.kind === kind)) && draw({ quiet: true }),
    signal,
  );
  draw();
  return {
    search,
    place,
    again: () => {
      cursors.length = 1;
      draw();
    },
  };
}

/** The page of a list: heading, what it is, actions, search, and the list. */
export function listPage({ title, lead, actions, search, filters = [], place }) {
  return [
    h('div', { class: 'viewhead' }, h('h1', null, title), h('div', { class: 'row' }, actions)),
    lead && h('p', { class: 'lead' }, lead),
    h('div', { class: 'filters' }, h('div', { class: 'field' }, search), filters),
    place,
  ];
}
