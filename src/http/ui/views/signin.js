// Signing in, with a token; a one-time link needs no form.

import * as api from '../api.js';
import { h, put } from '../dom.js';
import { t } from '../i18n.js';
import { field, form } from '../forms.js';
import { model } from '../model.js';
import { problemBox } from '../notices.js';
import { switches } from '../shell.js';

/** Shows the form in `app`; `then` once somebody has signed in. */
export function signIn(app, then, { problem }) {
  const token = field(t('signin.token'), {
    type: 'password',
    required: true,
    autocomplete: 'current-password',
    hint: t('signin.hint'),
  });
  const element = form([token], {
    label: t('signin.do'),
    send: async () => {
      model.me = await api.post('/session', { token: token.input.value.trim() }, { quiet: true });
      await then();
    },
  });
  put(
    app,
    h(
      'main',
      { class: 'signin' },
      h(
        'div',
        { class: 'card' },
        h(
          'p',
          { class: 'brand' },
          h('img', { src: '/ui/icon.svg', alt: '', width: 36, height: 36 }),
          h('span', null, 'beaconfence'),
        ),
        h('h1', null, t('signin.title')),
        problem && problemBox(problem),
        element,
        h(
          'details',
          null,
          h('summary', null, t('signin.no-token')),
          h('p', null, t('signin.no-token.text')),
          h('pre', null, 'beaconfence token add NAME --role editor'),
        ),
      ),
      switches(() => signIn(app, then, { problem })),
    ),
  );
  document.title = `${t('signin.title')} · beaconfence`;
  token.input.focus();
}
