// Every page in both languages, both themes and both widths: nothing missing, nothing hard to use, nothing wider than
// its window.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, NARROW, signIn, visitor, WIDE } from './support/browser.mjs';
import { gateway, STORE } from './support/gateway.mjs';

const PAGES = [
  'setup',
  'map',
  'nearby',
  'zones',
  'beacons',
  'devices',
  'receivers',
  'triggers',
  'events',
  'playback',
  'health',
  'beacon-health',
  'transfer',
  'history',
  'access',
];
const HEADINGS = { en: ['Set-up', 'Map', 'Access'], fr: ['Mise en route', 'Plan', 'Accès'] };
/** That nothing is recorded is said with a refusal. */
const NOT_RECORDING = /status of 404 .*\/(playback|heatmap)/;

let chromium;
let store;
let token;
before(async () => {
  chromium = await browser();
  store = await gateway({ site: STORE });
  token = await store.token('anna', 'admin');
});
after(async () => {
  await chromium?.close();
  await store?.close();
});

for (const [viewport, width] of [
  [WIDE, 'wide'],
  [NARROW, 'narrow'],
]) {
  for (const [language, theme] of [
    ['en', 'light'],
    ['fr', 'dark'],
  ]) {
    test(`every page is whole: ${width}, ${theme}, ${language}`, { timeout: 180_000 }, async () => {
      const visit = await visitor(chromium, { viewport, theme, language, allow: [NOT_RECORDING] });
      const { page } = visit;
      await page.goto(store.url);
      await page.waitForSelector('.signin h1');
      await visit.shot(`${width}-${theme}-${language}-signin`);
      await visit.accessible('sign in');
      await signIn(visit, store.url, token);
      assert.equal(await page.getAttribute('html', 'lang'), language);
      assert.equal(await page.getAttribute('html', 'data-theme'), theme);
      const headings = [];
      for (const name of PAGES) {
        await page.goto(`${store.url}/#/${name}`);
        await page.waitForSelector(`.page-${name} h1`, { state: 'attached' });
        await page.waitForSelector('.loading', { state: 'detached' });
        headings.push(await page.textContent('h1'));
        assert.equal(await page.locator('.problem').count(), 0, `${name} shows a problem`);
        const wide = await page.evaluate(
          () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
        );
        assert.ok(wide <= 0, `${name} is ${wide} pixels too wide`);
        await visit.shot(`${width}-${theme}-${language}-${name}`);
        await visit.accessible(`${name} (${width}, ${theme}, ${language})`);
      }
      assert.deepEqual([headings[0], headings[1], headings.at(-1)], HEADINGS[language]);
      await visit.leave();
    });
  }
}

test('language and theme are switched in the page, and remembered', { timeout: 60_000 }, async () => {
  const visit = await visitor(chromium);
  const { page } = visit;
  await signIn(visit, store.url, token);
  await page.selectOption('select.language', 'fr');
  await page.waitForSelector('nav a[data-page=zones]:has-text("Zones")');
  await page.waitForSelector('nav a[data-page=history]:has-text("Historique")');
  await page.click('button.theme');
  assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
  await page.reload();
  await page.waitForSelector('nav a[data-page=history]:has-text("Historique")');
  assert.equal(await page.getAttribute('html', 'data-theme'), 'dark');
  await page.click(`.who button`);
  await page.waitForSelector('.signin');
  await page.reload();
  await page.waitForSelector('.signin');
  await visit.leave();
});

test('a token is shown once, lets in, and no longer once it is revoked', { timeout: 60_000 }, async () => {
  const admin = await visitor(chromium);
  const { page } = admin;
  await signIn(admin, store.url, token);
  await page.goto(`${store.url}/#/access`);
  await page.click('.viewhead button.primary');
  await page.fill('dialog input >> nth=0', 'till-7');
  await page.selectOption('dialog select', 'viewer');
  await page.click('dialog button[type=submit]');
  const secret = await page.inputValue('input.secret');
  assert.match(secret, /^bf_/);
  await page.keyboard.press('Escape');
  const other = await visitor(chromium, { allow: [/status of 401/] });
  await signIn(other, store.url, secret);
  await page.click('tr:has-text("till-7") button');
  await page.click('dialog button.danger');
  await page.waitForFunction(() => !document.querySelector('.view').textContent.includes('till-7'));
  assert.equal(await page.getByText(secret).count(), 0);
  await other.page.goto(`${store.url}/#/zones`);
  await other.page.waitForSelector('.signin');
  await other.leave();
  await admin.leave();
});

test('an import shows its plan first, and names the lines that are wrong', { timeout: 60_000 }, async () => {
  const visit = await visitor(chromium, { allow: [/status of 422/] });
  const { page } = visit;
  await signIn(visit, store.url, token);
  await page.goto(`${store.url}/#/transfer`);
  const send = text =>
    page.setInputFiles('input[type=file]', { name: 'beacons.csv', mimeType: 'text/csv', buffer: Buffer.from(text) });
  const head = 'id,identity,device,x,y,level,measured_power\n';
  await send(`${head}pillar,mac:AA:BB:CC:DD:EE:01,,5,5,0,\npost,fault,,6,6,0,\n`);
  await page.waitForSelector('.problem li');
  assert.match(await page.textContent('.problem'), /beacons\.csv:3/);
  assert.equal((await store.local('GET', '/api/v1/beacons?q=pillar')).total, 0);
  await visit.shot('import-1-faults');
  await send(`${head}pillar,mac:AA:BB:CC:DD:EE:01,,5,5,0,\n`);
  await page.waitForSelector('.plan-counts');
  assert.match(await page.textContent('.plan-counts'), /1 added/);
  assert.equal((await store.local('GET', '/api/v1/beacons?q=pillar')).total, 0);
  await visit.shot('import-2-plan');
  await visit.accessible('the plan of an import');
  await page.click('.card .row button.primary:has-text("Apply")');
  await page.waitForSelector('.notice');
  assert.equal((await store.local('GET', '/api/v1/beacons?q=pillar')).total, 1);
  await visit.leave();
});
