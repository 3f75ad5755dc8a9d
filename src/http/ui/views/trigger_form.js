// The dialog of a rule.

import * as api from '../api.js';
import { save } from '../conflict.js';
import { dialog } from '../dialog.js';
import { h } from '../dom.js';
import { t } from '../i18n.js';
import { field, form, ID_PATTERN, numberField, suggestId, tick } from '../forms.js';
import { notice, showProblem } from '../notices.js';
import { removeRecord } from '../removal.js';
import { whenFields } from './when_fields.js';

const words = text =>
  text
    .split(/[,;\n]+/)
    .map(part => part.trim())
    .filter(Boolean);

function dataField(data) {
  const text = data && Object.keys(data).length ? JSON.stringify(data, null, 2) : '';
  const input = h('textarea', {
    rows: 6,
    spellcheck: 'false',
    placeholder: t('trigger.data.placeholder'),
    value: text,
  });
  const element = field(t('trigger.data'), { input, hint: t('trigger.data.hint') });
  element.read = () => (input.value.trim() ? JSON.parse(input.value) : {});
  input.addEventListener('input', () => {
    let wrong = '';
    try {
      const value = element.read();
      if (value === null || typeof value !== 'object' || Array.isArray(value)) wrong = t('trigger.data.wrong');
    } catch {
      wrong = t('trigger.data.wrong');
    }
    input.setCustomValidity(wrong);
  });
  return element;
}

/** The dialog of a rule, new where `id` is null. */
export async function editTrigger(id) {
  let base = null;
  let etag = null;
  try {
    if (id) ({ record: base, etag } = await api.getRecord(api.path('triggers', id)));
  } catch (problem) {
    notice(problem.message, { kind: 'bad' });
    return;
  }
  dialog(id ? t('trigger.edit', { id }) : t('trigger.new'), close => build(id, base, etag, close), { wide: true });
}

function build(id, base, etag, close) {
  const unless = base?.unless ?? {};
  const then = base?.then ?? {};
  const name = field(t('field.name'), { value: base?.name ?? '', required: true, maxlength: 128 });
  const key = field(t('field.id'), {
    value: id ?? '',
    required: true,
    pattern: ID_PATTERN,
    readonly: Boolean(id),
    hint: t('trigger.id.hint'),
  });
  let typed = Boolean(id);
  key.input.addEventListener('input', () => {
    typed = true;
  });
  name.input.addEventListener('input', () => {
    if (!typed) key.input.value = name.input.value.trim() ? suggestId(name.input.value, () => false) : '';
  });
  const campaign = field(t('field.campaign'), {
    value: base?.campaign ?? '',
    maxlength: 128,
    hint: t('trigger.campaign.hint'),
  });
  const enabled = tick(t('trigger.enabled'), base?.enabled ?? true);
  const when = whenFields(base?.when);
  const condition = field(t('field.if'), {
    input: h('textarea', {
      rows: 2,
      spellcheck: 'false',
      placeholder: 'device.labels.tier == "gold"',
      value: base?.if ?? '',
    }),
    hint: t('trigger.if.hint'),
  });
  const caps = field(t('field.caps'), {
    value: (unless.caps ?? []).join(', '),
    placeholder: '1 per visit, 2 per week',
    hint: t('trigger.caps.hint'),
  });
  const siteCaps = field(t('field.site_caps'), {
    value: (unless.site_caps ?? []).join(', '),
    placeholder: '500 per day',
  });
  const coolDown = field(t('field.cool_down'), {
    value: unless.cool_down ?? '',
    placeholder: '2h',
    hint: t('trigger.cool_down.hint'),
  });
  const consent = field(t('field.consent'), {
    value: unless.consent ?? 'marketing',
    hint: t('trigger.consent.hint'),
  });
  const quiet = tick(t('trigger.quiet'), unless.quiet_hours ?? true);
  const open = tick(t('trigger.open'), unless.store_hours ?? false);
  const holdout = numberField(t('field.holdout'), {
    value: unless.holdout ?? 0,
    min: 0,
    max: 99,
    unit: '%',
    hint: t('trigger.holdout.hint'),
  });
  const priority = numberField(t('field.priority'), {
    value: then.priority ?? 5,
    min: 0,
    max: 9,
    step: 1,
    hint: t('trigger.priority.hint'),
  });
  const expires = field(t('field.expires_after'), {
    value: then.expires_after ?? '15m',
    required: true,
    hint: t('trigger.time.hint'),
  });
  const channels = field(t('field.channels'), {
    value: (then.channels ?? []).join(', '),
    placeholder: 'push, sms',
    hint: t('trigger.channels.hint'),
  });
  const dedup = field(t('field.deduplication_key'), {
    value: then.deduplication_key ?? '',
    hint: t('trigger.deduplication.hint'),
  });
  const card = tick(t('trigger.card'), then.card ?? false, { hint: t('trigger.card.hint') });
  const data = dataField(then.data);
  const at = {
    if: condition,
    caps,
    site_caps: siteCaps,
    cool_down: coolDown,
    consent,
    holdout,
    priority,
    expires_after: expires,
    channels,
    deduplication_key: dedup,
    data,
    name,
    campaign,
    id: key,
  };
  const to = id && api.path('triggers', id);
  const element = form(
    [
      h('div', { class: 'two' }, name, key),
      h('div', { class: 'two' }, campaign, enabled),
      when,
      condition,
      h(
        'fieldset',
        null,
        h('legend', null, t('trigger.unless')),
        h('div', { class: 'two' }, caps, coolDown),
        h('div', { class: 'two' }, consent, h('div', { class: 'stack tight' }, quiet, open)),
        h('details', null, h('summary', null, t('advanced')), h('div', { class: 'two' }, siteCaps, holdout)),
      ),
      h(
        'fieldset',
        null,
        h('legend', null, t('trigger.then')),
        data,
        h('div', { class: 'two' }, channels, expires),
        h('div', { class: 'two' }, priority, card),
        h('details', null, h('summary', null, t('advanced')), dedup),
      ),
    ],
    {
      cancel: () => close(),
      extra: id && h('button', { type: 'button', class: 'danger-plain', onclick: () => remove() }, t('remove.do')),
      send: async () => {
        const mine = {
          id: key.input.value.trim(),
          name: name.input.value.trim(),
          campaign: campaign.input.value.trim() || key.input.value.trim(),
          enabled: enabled.input.checked,
          when: when.read(),
          if: condition.input.value.trim() || null,
          unless: {
            caps: words(caps.input.value),
            site_caps: words(siteCaps.input.value),
            cool_down: coolDown.input.value.trim() || null,
            quiet_hours: quiet.input.checked,
            store_hours: open.input.checked,
            consent: consent.input.value.trim(),
            holdout: holdout.number() ?? 0,
          },
          then: {
            priority: priority.number() ?? 5,
            expires_after: expires.input.value.trim(),
            channels: words(channels.input.value).flatMap(part => part.split(/\s+/)),
            deduplication_key: dedup.input.value.trim() || null,
            card: card.input.checked,
            data: data.read(),
          },
        };
        try {
          mark([]);
          const saved = id
            ? await save({ kind: 'trigger', id, to, mine, etag, base })
            : await api.create('/triggers', mine);
          if (saved === null) return;
          close();
          if (!saved.theirs) notice(t('saved.named', { name: mine.name }));
        } catch (problem) {
          mark(problem.errors ?? []);
          throw problem;
        }
      },
    },
  );

  /** Marks the fields that the gateway's faults name. */
  function mark(errors) {
    for (const [name, place] of Object.entries({ ...at, ...when.byKey() })) {
      const names = ({ message }) =>
        message.startsWith(`"${name}`) || (name === 'if' && message.startsWith('the condition'));
      const wrong = errors.some(names);
      if (wrong) {
        place.input.setAttribute('aria-invalid', 'true');
        const hidden = place.closest('details');
        if (hidden) hidden.open = true;
      } else place.input.removeAttribute('aria-invalid');
    }
  }

  async function remove() {
    try {
      if (await removeRecord({ kind: 'trigger', id, to, etag })) close();
    } catch (problem) {
      showProblem(element.faults, problem);
    }
  }
  return element;
}
