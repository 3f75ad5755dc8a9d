// How beacons fare: the card of the health page, and the list of all of them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, NARROW, visitor, WIDE } from './support/browser.mjs';
import { gateway, STORE } from './support/gateway.mjs';

let chromium;
let shop;
before(async () => {
  chromium = await browser();
  shop = await gateway({ site: STORE, rules: false });
});
after(async () => {
  await chromium?.close();
  await shop?.close();
});

const none = {
  device: null,
  level: 0,
  problems: [],
  since: null,
  last_heard: null,
  battery: null,
  interval: null,
  moved: null,
};
const ago = hours => new Date(Date.now() - hours * 3_600_000).toISOString();
/** What takes hours and days to come about, as the API says it. */
const ITEMS = [
  {
    ...none,
    beacon: 'shelf-bakery',
    state: 'missing',
    problems: ['missing', 'low_battery'],
    since: ago(3),
    last_heard: ago(4),
  },
  { ...none, beacon: 'shelf-cafe', level: 1, state: 'moved', problems: ['moved'], since: ago(1), last_heard: ago(0.1) },
  {
    ...none,
    beacon: 'phone-01',
    device: 'shopper-01',
    level: null,
    state: 'low_battery',
    problems: ['low_battery', 'interval_drift'],
    since: ago(30),
    last_heard: ago(0.5),
  },
];
Object.assign(ITEMS[0], { battery: { millivolts: 2310, at: ago(4), low: true, per_day: -11.5, days_left: 0 } });
Object.assign(ITEMS[1], { moved: { since: ago(1), level: 1, x: 12, y: 7 } });
Object.assign(ITEMS[2], {
  battery: { percent: 9, at: ago(0.5), low: true, per_day: -0.5, days_left: 12 },
  interval: { ms: 1502, usual_ms: 300, counted: true, drifted: true },
});
const COUNTS = { missing: 1, moved: 1, low_battery: 2, interval_drift: 1, ok: 40, never_heard: 2, not_heard: 8 };

async function withProblems(page) {
  await page.route(/\/api\/v1\/beacon-health/, route => {
    const wanted = new URL(route.request().url()).searchParams.get('state');
    const items = ITEMS.filter(item => !wanted || wanted === 'problem' || item.problems.includes(wanted));
    return route.fulfill({ json: { items, total: items.length, next: null, revision: 1, counts: COUNTS } });
  });
}

test('a beacon that was never heard is found by its state', { timeout: 120_000 }, async () => {
  const visit = await visitor(chromium, { allow: [/status of 401/] });
  const { page } = visit;
  await page.goto(await shop.link('viewer'));
  await page.waitForSelector('nav', { state: 'attached' });
  await page.evaluate(() => {
    location.hash = '#/health';
  });
  await page.click('a.pill[href="#/beacon-health/never_heard"]');
  await page.waitForSelector('table.records');
  const rows = await page.locator('table.records tbody tr').allTextContents();
  assert.equal(rows.length, 4);
  assert.ok(rows.every(row => row.includes('shelf-') && row.includes('never heard')), rows.join('\n'));
  await page.selectOption('.filters select', 'problem');
  await page.waitForSelector('.empty');
  await page.selectOption('.filters select', 'not_heard');
  await page.waitForSelector('table.records >> text=phone-01');
  await visit.leave();
});

for (const [viewport, width] of [
  [WIDE, 'wide'],
  [NARROW, 'narrow'],
])
  for (const [language, theme] of [
    ['en', 'light'],
    ['fr', 'dark'],
  ])
    test(`problems can be read, ${width}, ${theme}`, { timeout: 120_000 }, async () => {
      const visit = await visitor(chromium, { viewport, theme, language, allow: [/status of 401/] });
      const { page } = visit;
      await withProblems(page);
      await page.goto(await shop.link('viewer'));
      await page.waitForSelector('nav', { state: 'attached' });
      for (const name of ['health', 'beacon-health']) {
        await page.evaluate(to => {
          location.hash = `#/${to}`;
        }, name);
        await page.waitForSelector('text=shelf-bakery');
        const text = await page.locator('main').textContent();
        const words =
          language === 'en'
            ? ['about 12 days left', '1.5\u00a0s instead of 300\u00a0ms']
            : ['encore 12 jours environ'];
        words.forEach(word => assert.ok(text.includes(word), `${word}: ${text}`));
        const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
        assert.ok(wider <= 0, `${name} is ${wider} pixels too wide`);
        await visit.accessible(name);
        await visit.shot(`beacon-${name}-${width}-${theme}`);
      }
      await visit.leave();
    });
