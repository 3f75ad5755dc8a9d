// From an empty store to a working zone, as somebody does it who has never seen this.

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { browser, visitor } from './support/browser.mjs';
import { Beacon, gateway, STORE, until } from './support/gateway.mjs';

const UUID = '8f1c7d2e-5a43-4b0e-9d61-2c7be0a4f3d9';
const RECEIVERS = ['west', 'east', 'north'];

let chromium;
let store;
let hearing;
before(async () => {
  chromium = await browser();
  store = await gateway({ sightings: true });
});
after(async () => {
  clearInterval(hearing);
  await chromium?.close();
  await store?.close();
});

test(
  'a newcomer sets up the site, its plan, receivers, a zone and a beacon, and sees it enter',
  { timeout: 180_000 },
  async () => {
    const visit = await visitor(chromium);
    const { page } = visit;
    await page.goto(await store.link('admin'));

    // The code is gone from the address, and what to do comes first.
    await page.waitForSelector('.steps');
    assert.doesNotMatch(page.url(), /code=/);
    assert.equal(await page.locator('.step.done').count(), 0);
    await visit.shot('setup-1-empty');
    await visit.accessible('the set-up of an empty store');

    await visit.click('.step.next button');
    await page.fill('dialog input >> nth=0', 'Corner Shop');
    await page.getByLabel('Latitude').fill('48.8566');
    await page.getByLabel('Longitude').fill('2.3522');
    await visit.shot('setup-2-site');
    await visit.click('dialog button[type=submit]');
    await page.waitForSelector('.step:nth-child(1).done');

    await visit.click('.step.next .button');
    await page.setInputFiles('input[type=file]', path.join(STORE, 'floor-0.svg'));
    await page.getByLabel(/Distance from A to B/).fill('24.6');
    await page.waitForSelector('image[href^=blob]', { state: 'attached' });
    await visit.shot('setup-3-plan');
    await visit.accessible('placing a floor plan');
    await visit.click('.panel button[type=submit]');
    await page.waitForSelector('.zonelist');

    const places = [
      [0.35, 0.6],
      [0.65, 0.6],
      [0.5, 0.35],
    ];
    for (const [at, name] of RECEIVERS.entries()) {
      await visit.click('[data-tool=receiver]');
      await visit.clickMap(...places[at]);
      await page.fill('.panel input >> nth=0', name);
      await visit.click('.panel button[type=submit]');
      await page.waitForSelector(`[data-select="receiver:${name}"]`);
    }
    const receivers = (await page.evaluate(() => fetch('/api/v1/receivers').then(answer => answer.json()))).items;
    assert.deepEqual(
      receivers.map(receiver => receiver.id),
      [...RECEIVERS].sort(),
    );

    // What is in the air from now on: the beacon in the hand, outside, and two of other people, which are weaker.
    const ears = receivers.map(receiver => [receiver.id, receiver.x, receiver.y]);
    const [east, , west] = receivers;
    const hand = new Beacon(UUID, 7, 1, [east.x + 4, east.y]);
    const others = [
      new Beacon(UUID, 9, 2, [east.x + 6, east.y], -66),
      new Beacon(UUID, 9, 3, [west.x - 9, west.y], -66),
    ];
    const heardSince = Date.now();
    hearing = setInterval(() => store.hear([hand, ...others].flatMap(beacon => beacon.heard(ears))), 250);

    // A zone around the middle of the three.
    await visit.click('[data-tool=rectangle]');
    await visit.clickMap(0.4, 0.42);
    await visit.clickMap(0.6, 0.68);
    await page.fill('.panel input >> nth=0', 'Checkout');
    await visit.shot('setup-4-zone');
    await visit.accessible('the form of a zone');
    await visit.click('.panel button[type=submit]');
    await page.waitForSelector('[data-select="zone:checkout"]', { state: 'attached' });

    const zone = (await page.evaluate(() => fetch('/api/v1/zones/checkout').then(answer => answer.json()))).shape_m
      .polygons[0][0];
    const middle = [0, 1].map(
      axis => (Math.min(...zone.map(corner => corner[axis])) + Math.max(...zone.map(corner => corner[axis]))) / 2,
    );

    await visit.click('a[data-page=nearby]');
    await visit.click('.viewhead button.primary');
    await page.waitForSelector('.nearby li');
    await page.waitForFunction(
      wanted => document.querySelector('.nearby li .hint')?.textContent.toLowerCase().startsWith(wanted),
      `ibeacon:${UUID}/7/1`,
    );
    await visit.shot('setup-5-nearby');
    await visit.accessible('nearby');
    await visit.click('.nearby li:first-child button.primary');
    await page.waitForFunction(() => document.querySelector('dialog input')?.value);
    await visit.click('dialog input[type=checkbox]');
    await visit.shot('setup-6-register');
    await visit.accessible('registering a beacon');
    // Who is first seen within ten seconds of a receiver's start would be taken to have been there already.
    await until('receivers that have listened for a while', () => Date.now() - heardSince > 11_000);
    await visit.click('dialog button[type=submit]');
    await page.waitForSelector('.nearby li .pill.good');

    // It shows outside; then it is carried into the zone, and the event comes by itself.
    await visit.click('a[data-page=map]');
    await page.waitForSelector('.device .dot', { state: 'attached', timeout: 60_000 });
    assert.equal(await page.locator('.events .event:has-text("Checkout")').count(), 0);
    hand.place = middle;
    await page.waitForSelector('.events .event.entered:has-text("visitor-1 entered Checkout")', { timeout: 60_000 });
    await visit.shot('setup-7-entered');
    await visit.click('.events .event.entered:has-text("visitor-1 entered Checkout") button');
    await page.waitForSelector('dialog .facts li');
    assert.match(await page.textContent('dialog .facts'), /probability/);
    await visit.shot('setup-8-why');
    await page.keyboard.press('Escape');

    await visit.click('a[data-page=setup]');
    await page.waitForFunction(() => document.querySelectorAll('.step.done').length === 5);
    await visit.shot('setup-9-done');
    console.log(`browser clicks=${visit.clicks} task=setup`);
    await visit.leave();
  },
);
