// The browser, and what is watched while it is used: errors, and breaches of the content security policy, fail a test.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { chromium } from 'playwright-core';

const AXE = fs.readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const OUT = process.env.BROWSER_OUT;
export const WIDE = { width: 1440, height: 900 };
export const NARROW = { width: 390, height: 844 };

/** Starts the browser. */
export function browser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/**
 * A window of somebody who was never here before. `allow` are patterns of messages that the test brings about itself,
 * such as a refused request.
 */
export async function visitor(started, { viewport = WIDE, theme = 'light', language = 'en', allow = [] } = {}) {
  const context = await started.newContext({ viewport, colorScheme: theme, locale: language, acceptDownloads: true });
  if (process.env.BROWSER_UI) await context.route(/^http:\/\/[^/]+\/(ui\/.*)?$/, fromDisk);
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const wrong = [];
  const note = text => {
    if (!allow.some(pattern => pattern.test(text))) wrong.push(text);
  };
  page.on(
    'console',
    message => message.type() === 'error' && note(`${message.text()} ${message.location().url ?? ''}`),
  );
  page.on('pageerror', error => note(error.stack ?? String(error)));
  page.on('request', request => {
    if (!/^(http:\/\/127\.0\.0\.1|blob:|data:)/.test(request.url())) wrong.push(`asks for ${request.url()}`);
  });
  await page.addInitScript(() => {
    globalThis.addEventListener('securitypolicyviolation', event =>
      console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`),
    );
  });
  let clicks = 0;
  return {
    page,
    get clicks() {
      return clicks;
    },
    /** A click, counted. */
    async click(selector, options) {
      clicks += 1;
      await page.click(selector, options);
    },
    /** A click on the map, `x`, `y` being shares of its width and height, counted. */
    async clickMap(x, y) {
      clicks += 1;
      const box = await page.locator('.canvas').boundingBox();
      await page.mouse.move(box.x + box.width * x - 6, box.y + box.height * y - 6);
      await page.mouse.move(box.x + box.width * x, box.y + box.height * y);
      await page.mouse.down();
      await page.mouse.up();
    },
    /** Keeps a picture. */
    shot: name => page.screenshot({ path: path.join(OUT, `${name}.png`) }),
    /** Fails where the page is hard to use for somebody. */
    async accessible(name) {
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() =>
        globalThis.axe.run(document, {
          runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
        }),
      );
      const text = violations
        .map(
          one =>
            `${one.id}: ${one.help}\n${one.nodes
              .slice(0, 5)
              .map(node => `  ${node.target.join(' ')}: ${node.failureSummary?.replaceAll('\n', ' ')}`)
              .join('\n')}`,
        )
        .join('\n');
      assert.equal(text, '', `accessibility of ${name}`);
    },
    /** Ends the visit; fails where anything went wrong. */
    async leave() {
      await context.close();
      assert.deepEqual(wrong, []);
    },
  };
}

/** Answers with a file of the working tree, under the gateway's own headers. */
async function fromDisk(route) {
  const { pathname } = new URL(route.request().url());
  const index = await route.fetch({ url: new URL('/', route.request().url()).href });
  const name = pathname.slice('/ui/'.length) || 'index.html';
  const type = {
    html: 'text/html',
    js: 'text/javascript',
    css: 'text/css',
    json: 'application/json',
    svg: 'image/svg+xml',
  };
  const headers = { ...index.headers(), 'content-type': type[name.split('.').pop()] };
  await route.fulfill({ status: 200, headers, body: fs.readFileSync(path.join(process.env.BROWSER_UI, name)) });
}

/** Signs in with a token. */
export async function signIn({ page }, url, token) {
  await page.goto(url);
  await page.fill('input[type=password]', token);
  await page.press('input[type=password]', 'Enter');
  await page.waitForSelector('main#content h1');
}
