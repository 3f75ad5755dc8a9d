// Who may do what: tokens, and one-time links. For administrators.

import * as api from '../api.js';
import { dialog } from '../dialog.js';
import { h, put } from '../dom.js';
import { instant, t, word } from '../i18n.js';
import { choice, field, form } from '../forms.js';
import { may } from '../model.js';
import { empty, load, notice } from '../notices.js';
import { removeRecord } from '../removal.js';

const ROLES = ['viewer', 'editor', 'admin'];
const LINK_MINUTES = 10;

export function show({ signal }) {
  const place = h('div');
  if (!may('admin')) return [h('h1', null, t('page.access')), empty(t('access.admins'), t('problem.forbidden'))];
  const draw = () => load(place, tokens, signal);
  draw();
  return [
    h(
      'div',
      { class: 'viewhead' },
      h('h1', null, t('page.access')),
      h(
        'div',
        { class: 'row' },
        h('button', { type: 'button', class: 'primary', onclick: () => make(draw) }, t('access.new')),
        h('button', { type: 'button', onclick: () => link() }, t('access.link')),
      ),
    ),
    h('p', { class: 'lead' }, t('access.lead')),
    place,
  ];

  async function tokens() {
    const { items } = await api.get('/tokens');
    if (items.length === 0) return h('div', { class: 'card' }, empty(t('access.none'), t('access.none.text')));
    return h(
      'div',
      { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': t('page.access') },
      h(
        'table',
        { class: 'records' },
        h(
          'thead',
          null,
          h(
            'tr',
            null,
            h('th', { scope: 'col' }, t('field.name')),
            h('th', { scope: 'col' }, t('access.role')),
            h('th', { scope: 'col' }, t('access.created')),
            h('th', null, h('span', { class: 'sr' }, t('list.actions'))),
          ),
        ),
        h(
          'tbody',
          null,
          items.map(token =>
            h(
              'tr',
              null,
              h('th', { scope: 'row' }, token.name),
              h('td', { 'data-label': t('access.role') }, word('role.', token.role)),
              h('td', { 'data-label': t('access.created') }, token.created_at ? instant(token.created_at) : '–'),
              h(
                'td',
                { class: 'actions' },
                h(
                  'button',
                  {
                    type: 'button',
                    class: 'small danger-plain',
                    'aria-label': t('access.revoke-named', { name: token.name }),
                    onclick: () => revoke(token),
                  },
                  t('access.revoke'),
                ),
              ),
            ),
          ),
        ),
      ),
    );
  }

  async function revoke(token) {
    try {
      if (await removeRecord({ kind: 'token', id: token.name, to: api.path('tokens', token.name), etag: null })) draw();
    } catch (problem) {
      notice(problem.message, { kind: 'bad' });
    }
  }
}

const roleChoice = value =>
  choice(
    t('access.role'),
    ROLES.map(role => [role, t(`access.role.${role}`)]),
    value,
  );

function make(then) {
  dialog(t('access.new'), close => {
    const name = field(t('field.name'), {
      required: true,
      hint: t('access.name.hint'),
      placeholder: t('access.name.placeholder'),
    });
    const role = roleChoice('editor');
    const place = h('div');
    put(
      place,
      form([name, role], {
        label: t('access.make'),
        cancel: () => close(),
        send: async () => {
          const made = await api.post('/tokens', { name: name.input.value.trim(), role: role.input.value });
          put(place, secret(t('access.once'), made.token, close));
          then();
        },
      }),
    );
    return place;
  });
}

function link() {
  dialog(t('access.link'), close => {
    const role = roleChoice('editor');
    const place = h('div');
    put(
      place,
      form([h('p', null, t('access.link.text', { n: LINK_MINUTES })), role], {
        label: t('access.make'),
        cancel: () => close(),
        send: async () => {
          const made = await api.post('/session/links', { role: role.input.value, minutes: LINK_MINUTES });
          put(place, secret(t('access.link.once'), made.url, close));
        },
      }),
    );
    return place;
  });
}

/** Something that is shown once, with a way to copy it. */
function secret(text, value, close) {
  const input = h('input', {
    readonly: true,
    value,
    'aria-label': text,
    class: 'secret',
    onfocus: event => event.target.select(),
  });
  return h(
    'div',
    { class: 'stack' },
    h('p', null, text),
    input,
    h(
      'div',
      { class: 'row end' },
      h(
        'button',
        {
          type: 'button',
          class: 'primary',
          onclick: async () => {
            // Without TLS the browser offers no clipboard: the text is selected, to be copied by hand.
            try {
              await navigator.clipboard.writeText(value);
              notice(t('access.copied'));
            } catch {
              input.focus();
            }
          },
        },
        t('access.copy'),
      ),
      h('button', { type: 'button', onclick: () => close() }, t('close')),
    ),
  );
}
