// The texts of all languages, held against each other and against what the code asks for.

import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import test from 'node:test';

const UI = path.resolve(import.meta.dirname, '../../src/http/ui');
const TEXTS = Object.fromEntries(
  fs
    .readdirSync(path.join(UI, 'texts'))
    .map(name => [name.replace('.json', ''), JSON.parse(fs.readFileSync(path.join(UI, 'texts', name), 'utf8'))]),
);

const sources = fs
  .readdirSync(UI, { recursive: true })
  .filter(name => name.endsWith('.js'))
  .map(name => fs.readFileSync(path.join(UI, name), 'utf8'));

/** The first argument of each call of `t`, `tn` and `word`: `[function, its source]`. */
function calls(source) {
  const found = [];
  for (const match of source.matchAll(/(?<![\w.])(tn?|word)\(/g)) {
    let depth = 0;
    let end = match.index + match[0].length;
    for (; end < source.length; end += 1) {
      const letter = source[end];
      if ('([{'.includes(letter)) depth += 1;
      else if (')]}'.includes(letter)) depth -= 1;
      if (depth < 0 || (depth === 0 && letter === ',')) break;
    }
    found.push([match[1], source.slice(match.index + match[0].length, end)]);
  }
  return found;
}

const used = new Set();
const prefixes = new Set();
for (const [name, given] of sources.flatMap(calls)) {
  // What is compared with, or asked of a role, is no key.
  const keys = given.replace(/may\('\w+'\)/g, '').replace(/[=!]== '[^']*'/g, '');
  for (const [, key] of keys.matchAll(/'([^']*)'/g)) {
    if (name === 'word') prefixes.add(key);
    else if (name === 'tn') ['one', 'other'].forEach(form => used.add(`${key}.${form}`));
    else used.add(key);
  }
  for (const [, prefix] of keys.matchAll(/`([^`$]*)\$\{/g)) prefixes.add(prefix);
}

test('there are English and French, with the same keys', () => {
  assert.deepEqual(Object.keys(TEXTS).sort(), ['en', 'fr']);
  assert.deepEqual(Object.keys(TEXTS.en), Object.keys(TEXTS.fr));
  assert.ok(Object.keys(TEXTS.en).length > 300);
});

test('every key that the code uses is there', () => {
  assert.ok(used.size > 200, `only ${used.size} keys found: are they still looked for in the right way?`);
  assert.deepEqual([...used].filter(key => !(key in TEXTS.en)).sort(), []);
  assert.deepEqual(
    [...prefixes].filter(prefix => !Object.keys(TEXTS.en).some(key => key.startsWith(prefix))).sort(),
    [],
  );
});

test('no text is there that nothing uses', () => {
  assert.deepEqual(
    Object.keys(TEXTS.en).filter(
      key => !used.has(key) && ![...prefixes].some(prefix => prefix && key.startsWith(prefix)),
    ),
    [],
  );
});

test('a text has the same gaps in every language, and is not empty', () => {
  const gaps = text => [...text.matchAll(/\{\w+\}/g)].map(match => match[0]).sort();
  for (const [key, text] of Object.entries(TEXTS.en)) {
    assert.ok(text.trim() && TEXTS.fr[key].trim(), key);
    assert.deepEqual(gaps(TEXTS.fr[key]), gaps(text), key);
  }
});
