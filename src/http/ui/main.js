// Begins: who is signed in, then the page that the address names.

import * as api from './api.js';
import { closeDialogs } from './dialog.js';
import { h, put } from './dom.js';
import { start as startLanguage, t } from './i18n.js';
import { begin, end, may, model } from './model.js';
import { load, loading, problemBox } from './notices.js';
import { endSession, frame, startTheme } from './shell.js';
import { signIn } from './views/signin.js';
import { isEmpty } from './views/steps.js';

const VIEWS = {
  setup: () => import('./views/setup.js'),
  map: () => import('./views/map.js'),
  nearby: () => import('./views/nearby.js'),
  zones: () => import('./views/zones.js'),
  beacons: () => import('./views/beacons.js'),
  devices: () => import('./views/devices.js'),
  receivers: () => import('./views/receivers.js'),
  triggers: () => import('./views/triggers.js'),
  events: () => import('./views/events.js'),
  playback: () => import('./views/playback.js'),
  health: () => import('./views/health.js'),
  'beacon-health': () => import('./views/beacon_health.js'),
  transfer: () => import('./views/transfer.js'),
  history: () => import('./views/history.js'),
  access: () => import('./views/access.js'),
};

const app = document.getElementById('app');
let page = new AbortController();
let main = null;

async function boot() {
  startTheme();
  await startLanguage();
  put(app, loading());
  api.whenSignedOut(() => model.me && signedOut());
  addEventListener('hashchange', () => {
    if (readCode()) enter();
    else if (main) show(true);
  });
  await enter();
}

/** The one-time code of the address. It leaves the address bar, and the browser's history, at once. */
let code = null;
function readCode() {
  const match = location.hash.match(/^#code=(.+)$/);
  if (!match) return false;
  code = decodeURIComponent(match[1]);
  history.replaceState(null, '', location.pathname);
  return true;
}

async function enter() {
  readCode();
  const given = code;
  code = null;
  let problem = null;
  try {
    if (given) model.me = await api.post('/session', { code: given }, { quiet: true });
    else if (localStorage.getItem('signed-in')) model.me = await api.get('/session', { quiet: true });
  } catch (failure) {
    // A used link is no reason to sign in again where a session is there.
    model.me = given ? await api.get('/session', { quiet: true }).catch(() => null) : null;
    problem = failure;
    if (given && failure.status === 401) problem.message = t('problem.link-used');
    else if (failure.status === 401) problem = null;
  }
  if (model.me) await signedIn({ focus: false });
  else signIn(app, signedIn, { problem });
}

async function signedIn({ focus = true } = {}) {
  // The cookie cannot be seen from here: without this note a first visit would begin with a refused request.
  localStorage.setItem('signed-in', 'yes');
  put(app, loading());
  try {
    await begin();
  } catch (problem) {
    if (problem.status === undefined) throw problem;
    put(
      app,
      h(
        'div',
        { class: 'alone' },
        problemBox(problem),
        h('button', { type: 'button', onclick: () => signedIn() }, t('try-again')),
      ),
    );
    return;
  }
  build(focus);
}

let framed = new AbortController();

function build(focus) {
  framed.abort();
  framed = new AbortController();
  main = frame(app, {
    signOut: async () => {
      await endSession();
      signedOut();
    },
    redraw: () => build(false),
    signal: framed.signal,
  });
  show(focus);
}

function signedOut() {
  localStorage.removeItem('signed-in');
  page.abort();
  framed.abort();
  main = null;
  end();
  signIn(app, signedIn, {});
}

/** The parts of the address after `#/`: the page, then what it is to show. */
function route() {
  const parts = location.hash.replace(/^#\//, '').split('/').filter(Boolean).map(decodeURIComponent);
  if (VIEWS[parts[0]]) return parts;
  return [may('editor') && isEmpty() ? 'setup' : 'map'];
}

/** Shows the page of the address. After a step of the person's the focus goes to its heading, so that it is read. */
async function show(focus) {
  page.abort();
  page = new AbortController();
  const { signal } = page;
  closeDialogs();
  const [name, ...rest] = route();
  // The page of the beacons' health hangs on that of the gateway's.
  main.mark(name === 'beacon-health' ? 'health' : name);
  main.className = `page-${name}`;
  document.title = `${t(`page.${name}`)} · beaconfence`;
  const place = h('div', { class: 'view' });
  put(main, place);
  await load(
    place,
    async () => {
      const view = await VIEWS[name]();
      return view.show({ place, signal, rest });
    },
    signal,
  );
  if (signal.aborted) return;
  const heading = main.querySelector('h1');
  if (focus && heading && (document.activeElement === document.body || document.activeElement.closest('nav'))) {
    heading.tabIndex = -1;
    heading.focus({ preventScroll: true });
  }
}

boot();
