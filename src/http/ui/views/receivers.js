// All receivers.

import { h } from '../dom.js';
import { metres, t, word } from '../i18n.js';
import { levelOf, may, model } from '../model.js';
import { empty } from '../notices.js';
import { list, listPage } from './list.js';

const place = () =>
  h(
    'a',
    { class: 'button primary', href: `#/map/${model.levels[0]?.ordinal ?? 0}/place-receiver` },
    t('tool.receiver.title'),
  );

export function show({ signal }) {
  const rows = list({
    collection: 'receivers',
    kind: 'receiver',
    signal,
    caption: t('page.receivers'),
    none: () => empty(t('receivers.empty'), t('receivers.empty.text'), may('editor') && place()),
    columns: [
      [t('field.id'), receiver => receiver.id],
      [
        t('health.state'),
        receiver => {
          const state = model.health.get(receiver.id)?.state ?? 'unknown';
          return h('span', { class: `pill ${state}` }, word('state.', state));
        },
      ],
      [t('field.level'), receiver => levelOf(receiver.level)?.name ?? String(receiver.level)],
      [t('field.place'), receiver => `${metres(receiver.x)}, ${metres(receiver.y)}, ${metres(receiver.z)}`],
      [
        '',
        receiver =>
          h(
            'a',
            {
              class: 'button small',
              href: `#/map/${receiver.level}/receiver/${encodeURIComponent(receiver.id)}`,
              'aria-label': t(may('editor') ? 'list.edit-named' : 'list.show-named', { name: receiver.id }),
            },
            t(may('editor') ? 'list.edit' : 'list.show'),
          ),
        'actions',
      ],
    ],
  });
  return listPage({
    title: t('page.receivers'),
    lead: t('receivers.lead'),
    actions: may('editor') && place(),
    search: rows.search,
    place: rows.place,
  });
}
