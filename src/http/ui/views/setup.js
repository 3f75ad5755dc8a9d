// From an empty store to a working zone, step by step. A step ticks itself off as soon as what it asks for is there.

import { h, icon, put } from '../dom.js';
import { t } from '../i18n.js';
import { on } from '../model.js';
import { siteForm } from './site_form.js';
import { stepLink, steps } from './steps.js';
import { dialog } from '../dialog.js';

/** The button of a step: to do it, or to look at it again. */
function action(name, done) {
  const label = t(done ? `step.${name}.again` : `step.${name}.do`);
  const style = done ? 'small' : 'primary';
  if (name === 'site') return h('button', { type: 'button', class: style, onclick: editSite }, label);
  return h('a', { class: `button ${style}`, href: stepLink(name) }, label);
}

export function show({ signal }) {
  const list = h('ol', { class: 'steps' });
  const end = h('div');

  function draw() {
    const all = steps();
    const next = all.find(([, done]) => !done)?.[0];
    put(
      list,
      all.map(([name, done], at) =>
        h(
          'li',
          {
            class: `card step ${done ? 'done' : ''} ${name === next ? 'next' : ''}`,
            'aria-current': name === next ? 'step' : null,
          },
          h('span', { class: 'tickmark', 'aria-hidden': 'true' }, done ? icon('check') : String(at + 1)),
          h(
            'div',
            null,
            h('h2', null, t(`step.${name}`), done && h('span', { class: 'sr' }, ` (${t('step.done')})`)),
            h('p', { class: 'hint' }, t(`step.${name}.text`)),
            h('p', null, action(name, done)),
          ),
        ),
      ),
    );
    put(
      end,
      next
        ? null
        : h(
            'div',
            { class: 'card' },
            h('h2', null, t('step.all')),
            h('p', null, t('step.all.text')),
            h('p', null, h('a', { class: 'button primary', href: '#/map' }, t('step.all.do'))),
          ),
    );
  }

  on('registry', draw, signal);
  draw();
  return [
    h('div', { class: 'viewhead' }, h('h1', null, t('page.setup'))),
    h('p', { class: 'lead' }, t('setup.lead')),
    list,
    end,
  ];
}

function editSite() {
  dialog(t('site.title'), close => siteForm(close));
}
