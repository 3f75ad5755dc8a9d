// Import and export: a plan is shown before anything is applied, and faults are named line by line.

import * as api from '../api.js';
import { h, icon, put } from '../dom.js';
import { number, t, tn, word } from '../i18n.js';
import { field, run, tick } from '../forms.js';
import { may } from '../model.js';
import { loading, notice, problemBox } from '../notices.js';
import { undo } from '../removal.js';

/** What may be imported: by name of the file, where it goes and as what. */
const KINDS = [
  ['zones', /\.(geojson|json)$/i, '/import/zones', 'application/geo+json'],
  ['beacons', /beacon.*\.csv$/i, '/import/beacons', 'text/csv'],
  ['devices', /device.*\.csv$/i, '/import/devices', 'text/csv'],
  ['triggers', /\.toml$/i, '/import/triggers', 'application/toml'],
  ['imdf', /\.zip$/i, '/import/imdf', 'application/zip'],
  ['whole', /registry.*\.json$/i, '/apply', 'application/json'],
];
const EXPORTS = ['zones.geojson', 'beacons.csv', 'devices.csv', 'triggers.toml', 'site.toml'];
const SHOWN = 100;

export function show() {
  return [
    h('div', { class: 'viewhead' }, h('h1', null, t('page.transfer'))),
    may('editor') && importCard(),
    exportCard(),
  ];
}

function importCard() {
  const what = h(
    'select',
    { value: 'auto' },
    ['auto', ...KINDS.map(([name]) => name)].map(name => h('option', { value: name }, t(`import.${name}`))),
  );
  const kind = field(t('import.what'), { input: what });
  const file = field(t('import.file'), {
    type: 'file',
    accept: '.geojson,.json,.csv,.toml,.zip',
    hint: t('import.file.hint'),
  });
  const replace = tick(t('import.replace'), false, { hint: t('import.replace.hint') });
  const result = h('div', { class: 'stack', 'aria-live': 'polite' });

  async function look() {
    const chosen = file.input.files[0];
    if (!chosen) return;
    put(result, loading());
    try {
      const target = await targetOf(what.value, chosen);
      if (!target) {
        put(result, h('div', { class: 'warning' }, icon('warning'), h('p', null, t('import.which'))));
        what.focus();
        return;
      }
      const send = dry =>
        api.post(
          `${target.to}${api.query({ dry_run: dry, replace: ['imdf', 'whole'].includes(target.name) ? null : replace.input.checked })}`,
          chosen,
          { type: target.type },
        );
      show(await send(true), target, send);
    } catch (problem) {
      if (problem.status === undefined) throw problem;
      put(
        result,
        problemBox(problem),
        problem.errors.length > 0 && h('p', { class: 'hint' }, t('import.nothing-changed')),
      );
    }
  }

  function show(plan, target, send) {
    const nothing = plan.counts.added + plan.counts.changed + plan.counts.removed === 0;
    const apply = h(
      'button',
      {
        type: 'button',
        class: 'primary',
        onclick: () =>
          run(apply, faults, async () => {
            const done = await send(false);
            put(result, h('p', null, icon('check'), ' ', counts(done.counts)));
            notice(t('import.done'), { action: () => undo(done.revision), label: t('undo') });
            file.input.value = '';
          }),
      },
      t('import.apply'),
    );
    const faults = h('div');
    put(
      result,
      h('h3', null, t('import.plan', { what: t(`import.${target.name}`) })),
      h('p', { class: 'plan-counts' }, counts(plan.counts)),
      ['added', 'changed', 'removed'].map(
        name =>
          plan[name]?.length > 0 &&
          h(
            'details',
            null,
            h('summary', null, tn(`history.${name}`, plan.counts[name])),
            h(
              'p',
              null,
              plan[name]
                .slice(0, SHOWN)
                .map(one => `${word('kind.', one.kind)} ${one.id}`)
                .join(', '),
              plan.counts[name] > SHOWN ? ` ${t('history.and-more', { n: number(plan.counts[name] - SHOWN) })}` : '',
            ),
          ),
      ),
      plan.warnings?.length > 0 &&
        h(
          'details',
          { open: true },
          h('summary', null, tn('import.warnings', plan.warnings.length)),
          h(
            'ul',
            { class: 'facts' },
            plan.warnings
              .slice(0, SHOWN)
              .map(one =>
                h(
                  'li',
                  null,
                  h('code', null, [one.file, one.line].filter(Boolean).join(':')),
                  ' ',
                  one.record ? `${one.record}: ` : '',
                  one.message,
                  one.help ? ` ${one.help}` : '',
                ),
              ),
          ),
        ),
      plan.accounting && accounting(plan.accounting),
      faults,
      nothing
        ? h('p', { class: 'quiet' }, t('import.no-change'))
        : h('div', { class: 'row' }, apply, h('button', { type: 'button', onclick: () => put(result) }, t('cancel'))),
    );
  }

  file.input.addEventListener('change', look);
  what.addEventListener('change', look);
  replace.input.addEventListener('change', look);
  return h(
    'section',
    { class: 'card' },
    h('h2', null, t('import.title')),
    h('p', { class: 'hint' }, t('import.lead')),
    h('div', { class: 'two' }, file, kind),
    replace,
    result,
  );
}

/** Where a file goes: as chosen, else as its name or its first line says. */
async function targetOf(chosen, file) {
  let name = chosen;
  if (name === 'auto') {
    name = KINDS.findLast(([, pattern]) => pattern.test(file.name))?.[0];
    if (!name && /\.csv$/i.test(file.name)) {
      const head = (await file.slice(0, 400).text()).split(/\r?\n/)[0];
      if (/\bidentity\b/.test(head)) name = 'beacons';
      else if (/\bconsent\b/.test(head)) name = 'devices';
    }
  }
  const kind = KINDS.find(([one]) => one === name);
  return kind ? { name: kind[0], to: kind[2], type: kind[3] } : null;
}

function counts(count) {
  const parts = ['added', 'changed', 'removed', 'unchanged']
    .filter(name => count[name])
    .map(name => tn(`history.${name}`, count[name]));
  return parts.length ? `${parts.join(', ')}.` : t('import.no-change');
}

function accounting({ features }) {
  return h(
    'details',
    { open: true },
    h('summary', null, t('import.accounting')),
    h(
      'table',
      null,
      h(
        'thead',
        null,
        h(
          'tr',
          null,
          [t('import.feature'), t('import.read'), t('import.zones-made'), t('import.skipped')].map(text =>
            h('th', { scope: 'col' }, text),
          ),
        ),
      ),
      h(
        'tbody',
        null,
        Object.entries(features).map(([name, feature]) =>
          h(
            'tr',
            null,
            h('th', { scope: 'row' }, name),
            h('td', { class: 'number' }, number(feature.read)),
            h('td', { class: 'number' }, number(feature.zones ?? 0)),
            h(
              'td',
              null,
              feature.skipped?.length
                ? h(
                    'details',
                    null,
                    h('summary', null, number(feature.skipped.length)),
                    h(
                      'ul',
                      { class: 'facts' },
                      feature.skipped.slice(0, SHOWN).map(one => h('li', null, `${one.id}: ${one.why}`)),
                    ),
                  )
                : '0',
            ),
          ),
        ),
      ),
    ),
  );
}

function exportCard() {
  const faults = h('div');
  const whole = h(
    'button',
    {
      type: 'button',
      class: 'primary',
      onclick: () =>
        run(whole, faults, async () => {
          const all = await api.get('/export');
          save('beaconfence-registry.json', new Blob([JSON.stringify(all, null, 1)], { type: 'application/json' }));
        }),
    },
    t('export.all'),
  );
  return h(
    'section',
    { class: 'card' },
    h('h2', null, t('export.title')),
    h('p', { class: 'hint' }, t('export.lead')),
    h(
      'div',
      { class: 'row' },
      whole,
      EXPORTS.map(name => {
        const button = h(
          'button',
          {
            type: 'button',
            onclick: () => run(button, faults, async () => save(name, (await api.getBlob(`/export/${name}`)).blob)),
          },
          name,
        );
        return button;
      }),
    ),
    faults,
  );
}

function save(name, blob) {
  const url = URL.createObjectURL(blob);
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
