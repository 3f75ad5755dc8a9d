// All rules: when something is said, and what all of them obey.

import * as api from '../api.js';
import { h, put } from '../dom.js';
import { t, word } from '../i18n.js';
import { may, on } from '../model.js';
import { empty, loading, notice, problemBox } from '../notices.js';
import { list, listPage } from './list.js';
import { editTrigger } from './trigger_form.js';
import { editSettings, hoursWords } from './trigger_settings.js';
import { whenWords } from './trigger_words.js';

export function show({ signal, rest }) {
  const add = () =>
    h('button', { type: 'button', class: 'primary', onclick: () => editTrigger(null) }, t('triggers.add'));
  const rows = list({
    collection: 'triggers',
    kind: 'trigger',
    signal,
    caption: t('page.triggers'),
    none: () => empty(t('triggers.empty'), t('triggers.empty.text'), may('editor') && add()),
    columns: [
      [t('field.name'), rule => h('span', null, rule.name, ' ', rule.name !== rule.id && h('code', null, rule.id))],
      [t('trigger.when'), rule => [whenWords(rule.when), rule.if && h('div', null, h('code', null, rule.if))]],
      [t('field.campaign'), rule => rule.campaign],
      [t('triggers.state'), state],
      [
        '',
        rule =>
          may('editor') &&
          h(
            'button',
            {
              type: 'button',
              class: 'small',
              'aria-label': t('list.edit-named', { name: rule.name }),
              onclick: () => editTrigger(rule.id),
            },
            t('list.edit'),
          ),
        'actions',
      ],
    ],
  });
  if (rest[0] && may('editor')) editTrigger(rest[0]);
  return [
    ...listPage({
      title: t('page.triggers'),
      lead: t('triggers.lead'),
      actions: may('editor') && add(),
      search: rows.search,
      place: rows.place,
    }),
    settings(signal),
  ];
}

/** Whether a rule works: a switch for those who may throw it. */
function state(rule) {
  if (!may('editor')) {
    return h('span', { class: `pill ${rule.enabled ? 'good' : ''}` }, t(rule.enabled ? 'triggers.on' : 'triggers.off'));
  }
  const input = h('input', {
    type: 'checkbox',
    role: 'switch',
    checked: rule.enabled,
    'aria-label': t('triggers.switch', { name: rule.name }),
    onchange: async () => {
      input.disabled = true;
      const wanted = input.checked;
      try {
        const to = api.path('triggers', rule.id);
        const { record, etag } = await api.getRecord(to);
        await api.put(to, { ...record, enabled: wanted }, etag);
        notice(t(wanted ? 'triggers.switched-on' : 'triggers.switched-off', { name: rule.name }));
      } catch (problem) {
        if (problem.status === undefined) throw problem;
        input.checked = !wanted;
        notice(problem.message, { kind: 'bad' });
      } finally {
        input.disabled = false;
      }
    },
  });
  return input;
}

/** What all rules obey. */
function settings(signal) {
  const place = h('div', { class: 'stack' }, loading());
  const draw = async () => {
    try {
      const record = await api.get('/trigger-settings', { signal });
      const caps = record.caps.map(({ cap, campaign }) => (campaign ? `${cap} (${campaign})` : cap)).join(', ');
      const attributes = Object.entries(record.attributes)
        .map(([name, type]) => `${name} (${word('attribute.', type)})`)
        .join(', ');
      const pairs = [
        [t('field.store_hours'), hoursWords(record.store_hours) ?? t('hours.always')],
        [t('field.quiet_hours'), hoursWords(record.quiet_hours) ?? t('hours.never')],
        [t('triggers.caps'), caps || '–'],
        [t('triggers.attributes'), attributes || '–'],
        [t('field.retention'), record.retention],
      ];
      put(
        place,
        h(
          'dl',
          { class: 'pairs-list' },
          pairs.map(([name, value]) => [h('dt', null, name), h('dd', null, value)]),
        ),
      );
    } catch (problem) {
      if (problem.name === 'AbortError') return;
      if (problem.status === undefined) throw problem;
      put(
        place,
        problemBox(problem),
        h('p', null, h('button', { type: 'button', onclick: draw }, t('try-again'))),
      );
    }
  };
  on(
    'registry',
    change => (!change?.items || change.items.some(item => item.kind === 'trigger-settings')) && draw(),
    signal,
  );
  draw();
  return h(
    'section',
    { class: 'card' },
    h(
      'div',
      { class: 'viewhead' },
      h('h2', null, t('triggers.settings')),
      may('editor') &&
        h(
          'button',
          {
            type: 'button',
            class: 'small',
            'aria-label': t('list.edit-named', { name: t('triggers.settings') }),
            onclick: editSettings,
          },
          t('list.edit'),
        ),
    ),
    place,
  );
}
