// The demonstration: its one-time address opens the live map, on which a zone is drawn, and the next event comes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, visitor } from './support/browser.mjs';
import { demo } from './support/gateway.mjs';

let chromium;
let shown;
before(async () => {
  chromium = await browser();
  shown = await demo();
});
after(async () => {
  await chromium?.close();
  await shown?.close();
});

test(
  'a newcomer opens the address, draws a zone, and sees the next entered event for it',
  { timeout: 180_000 },
  async () => {
    const visit = await visitor(chromium, { allow: [/status of 401/] });
    const { page } = visit;
    await page.goto(shown.url);
    await page.waitForSelector('.canvas');
    assert.doesNotMatch(page.url(), /code=/);
    await page.waitForSelector('.device .dot', { state: 'attached' });
    await page.waitForSelector('image[href^=blob]', { state: 'attached' });
    await visit.shot('demo-1-live');
    await visit.accessible('the live map');

    await visit.click('[data-tool=rectangle]');
    await visit.clickMap(0.3, 0.35);
    await visit.clickMap(0.7, 0.75);
    await page.fill('.panel input >> nth=0', 'My zone');
    await visit.click('.panel button[type=submit]');
    await page.waitForSelector('.panel .event.entered:has-text("My zone")', { timeout: 120_000 });
    await visit.shot('demo-2-entered');
    console.log(`browser clicks=${visit.clicks}`);
    assert.ok(visit.clicks <= 6, `${visit.clicks} clicks`);

    // The address works once.
    const second = await visitor(chromium, { allow: [/status of 401/] });
    await second.page.goto(shown.url);
    await second.page.waitForSelector('.signin .problem');
    await second.leave();
    await visit.leave();
  },
);
