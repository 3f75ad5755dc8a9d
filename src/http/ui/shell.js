// The frame around every page: navigation, who is signed in, language and theme, and the banner of a lost connection.

import * as api from './api.js';
import { h, icon, put } from './dom.js';
import { choose, language, languages, t, word } from './i18n.js';
import { may, model, on } from './model.js';
import { places } from './notices.js';

/** Pages in the order of the navigation: name, role that sees it. An empty one sets groups apart. */
const PAGES = [
  ['setup', 'editor'],
  ['map', 'viewer'],
  ['nearby', 'editor'],
  [],
  ['zones', 'viewer'],
  ['beacons', 'viewer'],
  ['devices', 'viewer'],
  ['receivers', 'viewer'],
  ['triggers', 'viewer'],
  [],
  ['events', 'viewer'],
  ['playback', 'viewer'],
  ['health', 'viewer'],
  [],
  ['transfer', 'viewer'],
  ['history', 'viewer'],
  ['access', 'admin'],
];

const system = matchMedia('(prefers-color-scheme: dark)');

/** Takes the theme that was chosen; where none was, that of the system, as it changes. */
export function startTheme() {
  const apply = () => {
    document.documentElement.dataset.theme = localStorage.getItem('theme') ?? (system.matches ? 'dark' : 'light');
  };
  system.addEventListener('change', apply);
  apply();
}

const dark = () => document.documentElement.dataset.theme === 'dark';

/** The switches of theme and language; `changed` draws the page again in the new language. */
export function switches(changed) {
  const theme = h('button', { type: 'button', class: 'plain square theme' });
  const show = () => {
    put(theme, icon(dark() ? 'sun' : 'moon'));
    theme.setAttribute('aria-label', t(dark() ? 'theme.light' : 'theme.dark'));
    theme.title = t(dark() ? 'theme.light' : 'theme.dark');
  };
  theme.addEventListener('click', () => {
    document.documentElement.dataset.theme = dark() ? 'light' : 'dark';
    localStorage.setItem('theme', document.documentElement.dataset.theme);
    show();
  });
  show();
  const select = h(
    'select',
    {
      class: 'language',
      'aria-label': t('language'),
      value: language,
      onchange: async () => {
        await choose(select.value);
        changed();
      },
    },
    languages.map(([tag, name]) => h('option', { value: tag, lang: tag }, name)),
  );
  return h('div', { class: 'switches' }, theme, select);
}

/** Builds the frame in `app`, and gives the place for pages. */
export function frame(app, { signOut, redraw, signal }) {
  const main = h('main', { id: 'content', tabindex: '-1' });
  const list = h(
    'ul',
    null,
    PAGES.map(
      ([page, role], at) =>
        page &&
        may(role) &&
        h(
          'li',
          { class: PAGES[at - 1]?.length === 0 ? 'apart' : null },
          h('a', { href: `#/${page}`, 'data-page': page }, icon(page), h('span', null, t(`page.${page}`))),
        ),
    ),
  );
  const nav = h('nav', { id: 'navigation', 'aria-label': t('navigation') }, list);
  const menu = h(
    'button',
    {
      type: 'button',
      class: 'plain square menu',
      'aria-label': t('menu'),
      'aria-expanded': 'false',
      'aria-controls': 'navigation',
      onclick: () => openMenu(menu.getAttribute('aria-expanded') !== 'true'),
    },
    icon('menu'),
  );
  const openMenu = open => {
    menu.setAttribute('aria-expanded', String(open));
    side.classList.toggle('open', open);
    if (open) nav.querySelector('a').focus();
  };
  const who = h(
    'div',
    { class: 'who' },
    h('div', null, h('strong', null, model.me.name), h('span', null, word('role.', model.me.role))),
    h(
      'button',
      { type: 'button', class: 'plain square', 'aria-label': t('sign-out'), title: t('sign-out'), onclick: signOut },
      icon('out'),
    ),
  );
  const brand = h(
    'p',
    { class: 'brand' },
    h('img', { src: '/ui/icon.svg', alt: '', width: 28, height: 28 }),
    h('span', null, 'beaconfence'),
  );
  const site = h('p', { class: 'site' });
  const side = h(
    'header',
    { class: 'side' },
    h('div', { class: 'top' }, brand, menu),
    h('div', { class: 'drawer' }, site, nav, h('div', { class: 'foot' }, who, switches(redraw))),
  );
  const banner = h('div', { class: 'banner', role: 'alert' });
  put(
    app,
    h(
      'a',
      {
        class: 'skip',
        href: '#content',
        onclick: event => {
          event.preventDefault();
          main.focus();
        },
      },
      t('skip'),
    ),
    banner,
    h('div', { class: 'frame' }, side, main),
    ...places(),
  );

  const alarm = h('span', { class: 'alarm', hidden: true }, h('span', { class: 'sr' }, t('health.look')));
  nav.querySelector('[data-page=health]').append(alarm);
  const showHealth = () => {
    const down = [...model.health.values()].some(receiver => receiver.state === 'down');
    alarm.hidden = !(
      down ||
      (model.delivery && (!model.delivery.connected || model.delivery.failing || model.delivery.parked > 0))
    );
  };
  showHealth();
  on('status', showHealth, signal);

  const showSite = () => {
    site.textContent = model.site?.name ?? '';
  };
  showSite();
  on('registry', showSite, signal);
  on(
    'connection',
    connected => {
      put(banner, connected ? null : h('p', null, icon('warning'), t('connection.lost')));
      if (connected) put(banner, h('p', { class: 'good' }, icon('check'), t('connection.back')));
      if (connected) setTimeout(() => model.connected && put(banner), 4000);
    },
    signal,
  );
  nav.addEventListener('click', () => openMenu(false), { signal });
  side.addEventListener(
    'keydown',
    event => {
      if (event.key === 'Escape' && side.classList.contains('open')) {
        openMenu(false);
        menu.focus();
      }
    },
    { signal },
  );
  main.mark = name => {
    for (const link of nav.querySelectorAll('a')) {
      if (link.dataset.page === name) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
  };
  return main;
}

/** Ends the session at the gateway. */
export async function endSession() {
  try {
    await api.remove('/session');
  } catch {
    // It has ended already, or cannot be reached: the page forgets it either way.
  }
}
