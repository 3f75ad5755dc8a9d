// Events in words: one line each, and what led to them.

import { h } from '../dom.js';
import { ago, duration, instant, metres, number, percent, t, word } from '../i18n.js';
import * as api from '../api.js';
import { model, zoneName } from '../model.js';
import { dialog } from '../dialog.js';
import { load } from '../notices.js';

/** `entered`, `dwelled`, `exited` or `fired`. */
export const kindOf = event => event.type.split('.').pop();

const zoneOf = event => event.data.zone?.name || event.data.zone?.id || event.data.trigger || '';

/** One line: who did what where. */
export function sentence(event) {
  const values = { device: event.subject ?? event.data.device?.id ?? '', zone: zoneOf(event) };
  const kind = kindOf(event);
  if (kind === 'dwelled') return t('event.dwelled', { ...values, time: duration(event.data.threshold_s) });
  if (kind === 'exited') return t('event.exited', { ...values, time: duration(event.data.duration_s ?? 0) });
  if (kind === 'entered') return t(event.data.initial ? 'event.initial' : 'event.entered', values);
  return t('event.fired', { ...values, trigger: event.data.trigger ?? event.type });
}

/** An event as an item of a list: a button that says why. */
export function eventItem(event) {
  const kind = kindOf(event);
  return h(
    'li',
    { class: `event ${kind}`, 'data-event': event.id },
    h(
      'button',
      { type: 'button', class: 'plain', onclick: () => explain(event) },
      h('span', { class: 'sign', 'aria-hidden': 'true' }, { entered: '→', exited: '←', dwelled: '◷' }[kind] ?? '•'),
      h('span', { class: 'words' }, sentence(event)),
      h('time', { datetime: event.time, title: event.time }, instant(event.time)),
    ),
  );
}

/** Puts new events, oldest first, on top of a list that shows `most`. */
export function prependEvents(list, fresh, most) {
  list.prepend(...fresh.slice(-most).reverse().map(eventItem));
  while (list.children.length > most) list.lastChild.remove();
}

/** The dialog that says why an event came to be, and what is waited for now. */
export function explain(event) {
  const device = event.subject ?? event.data.device?.id;
  dialog(
    sentence(event),
    () => {
      const now = h('div');
      return [
        h(
          'ul',
          { class: 'facts' },
          facts(event).map(text => h('li', null, text)),
        ),
        h(
          'details',
          null,
          h('summary', null, t('why.now')),
          now,
          h(
            'p',
            { class: 'row' },
            h(
              'button',
              { type: 'button', class: 'small', onclick: () => load(now, () => why(device)) },
              t('why.ask', { device }),
            ),
          ),
        ),
        h(
          'details',
          null,
          h('summary', null, t('why.document')),
          h('pre', { tabindex: '0' }, JSON.stringify(event, null, 2)),
        ),
      ];
    },
    { wide: true },
  );
}

/** What is known of an event, as sentences. */
export function facts(event) {
  const { data } = event;
  const kind = kindOf(event);
  const settings = model.zones.get(data.zone?.id)?.properties ?? {};
  const enter = settings.enter_probability ?? 0.5;
  const exit = settings.exit_probability ?? 0.2;
  if (kind === 'fired') return firedFacts(data);
  const lines = [t('why.when', { at: instant(data.observed_at ?? event.time), decided: instant(data.decided_at) })];
  if (data.position)
    lines.push(
      t('why.position', {
        x: number(data.position.x, 1),
        y: number(data.position.y, 1),
        level: data.position.level,
        accuracy: metres(data.position.accuracy),
      }),
    );
  if (data.zone?.id === 'site') lines.push(t('why.site'));
  else if (kind === 'entered' && data.confidence !== undefined)
    lines.push(
      t('why.entered', { p: percent(data.confidence), limit: percent(enter), hold: settings.enter_after ?? '1s' }),
    );
  else if (kind === 'exited' && data.reason === 'left')
    lines.push(
      t('why.left', { p: percent(data.confidence ?? 0), limit: percent(exit), hold: settings.exit_after ?? '5s' }),
    );
  else if (data.confidence !== undefined) lines.push(t('why.confidence', { p: percent(data.confidence) }));
  if (kind === 'dwelled')
    lines.push(
      t('why.dwelled', { limit: duration(data.threshold_s), time: duration(data.duration_s ?? data.threshold_s) }),
    );
  if (data.reason) lines.push(word('reason.', data.reason));
  if (data.initial) lines.push(t('why.initial'));
  if (data.held) lines.push(t('why.held'));
  if (data.suspect) lines.push(t('why.suspect'));
  return lines;
}

/** What is known of a trigger, as sentences. */
function firedFacts(data) {
  const lines = [
    t('why.when', { at: instant(data.observed_at), decided: instant(data.decided_at) }),
    t('why.campaign', { campaign: data.campaign, priority: data.priority }),
    t('why.expires', { at: instant(data.expires_at) }),
    data.channels.length > 0 ? t('why.channels', { channels: data.channels.join(', ') }) : t('why.any-channel'),
  ];
  const zone = data.facts.zone;
  if (zone) lines.push(t('why.in-zone', { zone: zone.name ?? zone.id }));
  if (data.card) lines.push(t('why.card'));
  if (data.suspect) lines.push(t('why.suspect'));
  return lines;
}

/** What the gateway says of a device now: where, heard by whom, and what each zone waits for. */
export async function why(device) {
  const answer = await api.get(api.path('devices', device, 'why'));
  if (!answer.tracked) return h('p', null, t('why.untracked', { because: answer.because ?? '' }));
  return [
    h(
      'p',
      null,
      answer.position
        ? t('why.position', {
            x: number(answer.position.x, 1),
            y: number(answer.position.y, 1),
            level: answer.position.level,
            accuracy: metres(answer.position.accuracy),
          })
        : t('why.no-position'),
      ' ',
      t('why.last-seen', { ago: ago(answer.last_seen) }),
    ),
    answer.heard.length > 0 &&
      h('p', null, t('why.heard'), ' ', answer.heard.map(one => `${one.receiver} (${ago(one.time)})`).join(', ')),
    answer.zones.length > 0
      ? h(
          'ul',
          { class: 'facts' },
          answer.zones.map(zone => h('li', null, h('strong', null, zoneName(zone.zone)), ' ', phase(zone))),
        )
      : h('p', null, t('why.no-zones')),
    h('h3', null, t('why.triggers')),
    answer.triggers.length > 0
      ? h(
          'ul',
          { class: 'facts' },
          answer.triggers.map(one =>
            h('li', null, h('strong', null, one.trigger), ' ', decision(one), ' ', h('small', null, ago(one.at))),
          ),
        )
      : h('p', null, t('why.no-triggers')),
  ];
}

/** What became of a rule, and how often. */
function decision(one) {
  const words = word('outcome.', one.outcome);
  const detail = one.detail ? ` (${one.detail})` : '';
  return `${words}${detail}${one.times > 1 ? ` × ${number(one.times)}` : ''}`;
}

function phase(zone) {
  const values = {
    p: percent(zone.probability ?? 0),
    enter: percent(zone.enter_probability),
    exit: percent(zone.exit_probability),
    since: instant(zone.since),
    lost: instant(zone.lost_at),
  };
  return [
    word('phase.', zone.phase),
    ': ',
    t(
      zone.phase === 'entering'
        ? 'why.phase.entering'
        : zone.phase === 'leaving'
          ? 'why.phase.leaving'
          : 'why.phase.inside',
      values,
    ),
    zone.held ? ` ${t('why.held')}` : '',
  ];
}
