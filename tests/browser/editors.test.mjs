// Two editors of one zone, a viewer who may not edit, and somebody without a mouse.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, signIn, visitor } from './support/browser.mjs';
import { gateway, STORE } from './support/gateway.mjs';

let chromium;
let store;
const tokens = {};
before(async () => {
  chromium = await browser();
  store = await gateway({ site: STORE, rules: false });
  for (const [name, role] of [
    ['anna', 'editor'],
    ['ben', 'editor'],
    ['vera', 'viewer'],
  ])
    tokens[name] = await store.token(name, role);
});
after(async () => {
  await chromium?.close();
  await store?.close();
});

const zone = async id => (await store.local('GET', `/api/v1/zones/${id}`)).properties;

/** Opens the form of a zone. */
async function edit({ page }, id) {
  await page.goto(`${store.url}/#/map/0/edit-zone/${id}`);
  await page.waitForSelector('.panel form');
}

test(
  'of two editors the second is told who changed what, and may take theirs or keep their own',
  { timeout: 120_000 },
  async () => {
    const conflict = { allow: [/status of 412/] };
    const [anna, ben] = [await visitor(chromium, conflict), await visitor(chromium, conflict)];
    await signIn(anna, store.url, tokens.anna);
    await signIn(ben, store.url, tokens.ben);

    await edit(anna, 'bakery');
    await edit(ben, 'bakery');
    await anna.page.fill('.panel input >> nth=0', 'Bread');
    await anna.click('.panel button[type=submit]');
    await anna.page.waitForSelector('.notice');
    await ben.page.fill('.panel input >> nth=0', 'Cakes');
    await ben.click('.panel button[type=submit]');
    await ben.page.waitForSelector('dialog table.compare');
    const told = await ben.page.textContent('dialog');
    assert.match(told, /anna/);
    assert.match(told, /Bread/);
    assert.match(told, /Cakes/);
    assert.equal((await zone('bakery')).name, 'Bread');
    await ben.shot('editors-1-conflict');
    await ben.accessible('the dialog of two editors');
    await ben.click('dialog button.primary');
    await ben.page.waitForSelector('dialog', { state: 'detached' });
    await ben.page.waitForSelector('.notice');
    assert.equal((await zone('bakery')).name, 'Cakes');

    // The other way round: theirs is taken, and nothing is overwritten.
    await edit(anna, 'wine');
    await edit(ben, 'wine');
    await ben.page.fill('.panel input >> nth=0', 'Bottles');
    await ben.click('.panel button[type=submit]');
    await ben.page.waitForSelector('.panel h2:has-text("Bottles")');
    await anna.page.fill('.panel input >> nth=0', 'Glasses');
    await anna.click('.panel button[type=submit]');
    await anna.click('dialog button:has-text("Take theirs")');
    await anna.page.waitForSelector('.panel h2:has-text("Bottles")');
    assert.equal((await zone('wine')).name, 'Bottles');

    // What one draws the other sees at once.
    await anna.page.goto(`${store.url}/#/map/0`);
    await anna.page.waitForSelector('.zonelist');
    await edit(ben, 'cheese');
    await ben.page.fill('.panel input >> nth=0', 'Milk');
    await ben.click('.panel button[type=submit]');
    await anna.page.waitForSelector('.zonelist button:has-text("Milk")');
    await ben.leave();
    await anna.leave();
  },
);

test('a removed zone can be brought back, and the history says who did what', { timeout: 120_000 }, async () => {
  const anna = await visitor(chromium, { allow: [/status of 404/] });
  const { page } = anna;
  await signIn(anna, store.url, tokens.anna);
  await page.goto(`${store.url}/#/map/0/zone/entrance`);
  await anna.click('.panel button.danger-plain');
  await anna.click('dialog button.danger');
  await page.waitForSelector('.zonelist');
  await assert.rejects(zone('entrance'));
  await anna.click('.notice button:has-text("Undo")');
  await page.waitForSelector('.zonelist button:has-text("Entrance")');
  assert.equal((await zone('entrance')).name, 'Entrance');
  await page.goto(`${store.url}/#/history`);
  await page.waitForSelector('.change');
  assert.match(await page.textContent('.changes'), /anna/);
  await anna.shot('editors-2-history');
  await anna.accessible('the history');
  await anna.leave();
});

test(
  'a viewer sees everything and no way to change it, and the gateway refuses as well',
  { timeout: 120_000 },
  async () => {
    const vera = await visitor(chromium, { allow: [/status of 403/] });
    const { page } = vera;
    await signIn(vera, store.url, tokens.vera);
    await page.waitForSelector('.zonelist button');
    for (const selector of [
      '[data-tool]',
      'a[data-page=setup]',
      'a[data-page=nearby]',
      'a[data-page=access]',
      '.levels .plain',
    ])
      assert.equal(await page.locator(selector).count(), 0, selector);
    await page.click('.zonelist button >> nth=0');
    await page.waitForSelector('.panel .big');
    assert.equal(await page.locator('.panel button.primary, .panel button.danger-plain').count(), 0);
    await vera.shot('editors-3-viewer');
    for (const name of ['zones', 'beacons', 'devices', 'receivers', 'triggers', 'history', 'transfer']) {
      await page.goto(`${store.url}/#/${name}`);
      await page.waitForSelector('.view h1');
      await page.waitForSelector('.loading', { state: 'detached' });
      const words = await page.locator('.view button, .view .button').allTextContents();
      assert.deepEqual(
        words.filter(word => /^(Edit|Remove|Take back|Add|Draw|Place|Register|Import|Apply)/.test(word)),
        [],
        name,
      );
    }
    // An address typed by hand opens no form either.
    await page.goto(`${store.url}/#/map/0/edit-zone/bakery`);
    await page.waitForSelector('.zonelist');
    assert.equal(await page.locator('.panel form').count(), 0);
    const status = await page.evaluate(() =>
      fetch('/api/v1/zones/bakery', { method: 'DELETE', headers: { 'If-Match': '*' } }).then(answer => answer.status),
    );
    assert.equal(status, 403);
    await vera.leave();
  },
);

test('an editor adds a rule, mends it and switches it off; a viewer sees it', { timeout: 120_000 }, async () => {
  const anna = await visitor(chromium, { allow: [/status of (404|422)/] });
  const { page } = anna;
  await signIn(anna, store.url, tokens.anna);
  await page.goto(`${store.url}/#/triggers`);
  await page.waitForSelector('.empty h2');
  await anna.click('.empty button.primary');
  await page.waitForSelector('dialog form');
  await page.getByLabel('Name', { exact: true }).fill('Wine lovers');
  assert.equal(await page.getByLabel('Id', { exact: true }).inputValue(), 'wine-lovers');
  await page.getByLabel('What happens').selectOption('dwelled');
  await page.getByLabel('How long').fill('5 minutes');
  await page.getByLabel('Where 1').selectOption('"wine"');
  await page.getByLabel('Data', { exact: true }).fill('{"text": "Ask {{zone.name}}"}');
  await anna.shot('triggers-1-form');
  await anna.accessible('the form of a rule');
  await anna.click('dialog button[type=submit]');
  await page.waitForSelector('dialog .problem:has-text("is not a duration")');
  assert.equal(await page.getByLabel('How long').getAttribute('aria-invalid'), 'true');
  await anna.shot('triggers-2-fault');
  await page.getByLabel('How long').fill('5m');
  await page.getByLabel('At most, for each device').fill('1 per visit, often');
  await anna.click('dialog button[type=submit]');
  await page.waitForSelector('dialog .problem:has-text("is no cap")');
  assert.equal(await page.locator('dialog [aria-invalid=true]').count(), 1);
  await page.getByLabel('At most, for each device').fill('1 per visit, 2 per week');
  await anna.click('dialog button[type=submit]');
  await page.waitForSelector('tr:has-text("Wine lovers")');
  const words = await page.textContent('tr:has-text("Wine lovers")');
  assert.match(words, /5m in/);
  const made = await store.local('GET', '/api/v1/triggers/wine-lovers');
  assert.deepEqual(made.when, { dwelled: '5m', in: 'wine', total: false });
  assert.deepEqual(made.unless.caps, ['1 per visit', '2 per week']);
  assert.deepEqual(made.then.data, { text: 'Ask {{zone.name}}' });
  await page.getByRole('switch').click();
  await page.waitForSelector('.notice:has-text("is off")');
  assert.equal((await store.local('GET', '/api/v1/triggers/wine-lovers')).enabled, false);

  await anna.click('section.card button:has-text("Edit")');
  await page.waitForSelector('dialog form');
  await page.click('dialog summary:has-text("Quiet hours")');
  await page.getByLabel('Monday').last().fill('21:00-08:00');
  await page.getByRole('button', { name: 'Monday’s for every day' }).last().click();
  await anna.click('dialog button:has-text("Add an attribute")');
  await page.getByLabel('Name', { exact: true }).fill('points');
  await page.getByLabel('What it holds').selectOption('number');
  await anna.shot('triggers-3-settings');
  await anna.accessible('the settings of rules');
  await anna.click('dialog button[type=submit]');
  await page.waitForSelector('section.card dd:has-text("points (number)")');
  const settings = await store.local('GET', '/api/v1/trigger-settings');
  assert.deepEqual(settings.quiet_hours.sunday, ['21:00-08:00']);
  assert.equal(settings.store_hours, null);
  await anna.shot('triggers-4-list');
  // What a rule names cannot be removed.
  await page.goto(`${store.url}/#/triggers/wine-lovers`);
  await page.waitForSelector('dialog h2:has-text("wine-lovers")');
  assert.equal(await page.getByLabel('Where 1').inputValue(), '"wine"');
  await page.keyboard.press('Escape');

  const vera = await visitor(chromium);
  await signIn(vera, store.url, tokens.vera);
  await vera.page.goto(`${store.url}/#/triggers/wine-lovers`);
  await vera.page.waitForSelector('tr:has-text("Wine lovers") .pill:has-text("off")');
  assert.equal(await vera.page.locator('dialog, .view input[type=checkbox]').count(), 0);
  await vera.leave();
  await page.click('tr:has-text("Wine lovers") button');
  await anna.click('dialog form button.danger-plain');
  await anna.click('dialog button.danger');
  await page.waitForSelector('.empty h2');
  await anna.leave();
});

test('with the keyboard alone somebody signs in, and makes and moves a zone', { timeout: 120_000 }, async () => {
  const visit = await visitor(chromium);
  const { page } = visit;
  const focused = () => page.evaluate(() => document.activeElement.outerHTML.slice(0, 200));
  /** Goes on with Tab until the focus is on what `selector` names. */
  async function tabTo(selector, most = 150) {
    for (let n = 0; n < most; n += 1) {
      if (await page.evaluate(wanted => document.activeElement.matches(wanted), selector)) return;
      await page.keyboard.press('Tab');
    }
    assert.fail(`Tab never comes to ${selector}; it is on ${await focused()}`);
  }

  await page.goto(store.url);
  await page.waitForSelector('input[type=password]');
  await page.keyboard.type(tokens.anna);
  await page.keyboard.press('Enter');
  await page.waitForSelector('.zonelist');

  // The skip link comes first, and leads past the navigation.
  await page.reload();
  await page.waitForSelector('.zonelist');
  await tabTo('.skip', 3);
  assert.ok((await page.locator('.skip').boundingBox()).y >= 0);
  await page.keyboard.press('Enter');
  await tabTo('[data-tool=rectangle]', 20);
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(ring, 'solid', 'what has the focus is to be seen');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.panel form');
  await page.waitForFunction(() => document.activeElement.closest('.panel form'));
  await page.keyboard.type('By keys');
  await tabTo('.corners tbody tr:first-child td:nth-child(2) input', 20);
  await page.keyboard.press('Control+A');
  await page.keyboard.type('15');
  await tabTo('.shape button.small', 40);
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.querySelectorAll('.corners tbody tr').length === 5);
  // A corner on the map is moved with the arrow keys.
  await page.keyboard.press('Shift+Tab');
  await page.focus('.handle[data-handle="0.0.2"]');
  const before = await page.inputValue('.corners tbody tr:nth-child(3) td:nth-child(2) input');
  await page.keyboard.press('Shift+ArrowRight');
  await page.keyboard.press('ArrowRight');
  const moved = await page.inputValue('.corners tbody tr:nth-child(3) td:nth-child(2) input');
  assert.ok(Math.abs(moved - before - 1.1) < 1e-6, `${before} became ${moved}`);
  await page.keyboard.press('Control+z');
  assert.ok(
    Math.abs((await page.inputValue('.corners tbody tr:nth-child(3) td:nth-child(2) input')) - before - 1) < 1e-6,
  );
  await visit.shot('editors-4-keyboard');
  await page.focus('.panel input');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.panel h2:has-text("By keys")');
  const made = await store.local('GET', '/api/v1/zones/by-keys');
  assert.equal(made.shape_m.polygons[0][0].length, 5);

  // Removing asks, and the focus goes back to where it was.
  await tabTo('.panel button.danger-plain', 60);
  await page.keyboard.press('Enter');
  await page.waitForSelector('dialog[open]');
  assert.match(await focused(), /Cancel/);
  await page.keyboard.press('Escape');
  await page.waitForSelector('dialog', { state: 'detached' });
  assert.match(await focused(), /danger-plain/);
  await visit.leave();
});
