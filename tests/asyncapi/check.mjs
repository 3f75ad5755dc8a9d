// Checks docs/asyncapi.yaml with the official parser, and every example against its schema. Beyond that: nothing in docs/schemas that is
// sent over MQTT and nothing in docs/examples may be missing from the document, and the checks themselves must be able to fail.
import { readFile, readdir } from 'node:fs/promises';
import { basename } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Parser, fromFile } from '@asyncapi/parser';
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import yaml from 'js-yaml';

const docs = fileURLToPath(new URL('../../docs/', import.meta.url));
const text = await readFile(`${docs}asyncapi.yaml`, 'utf8');
// Schemas of files, not of messages.
const ELSEWHERE = ['calibration'];
const faults = [];
const fault = (what) => faults.push(what);
const json = async (path) => JSON.parse(await readFile(`${docs}${path}`, 'utf8'));

// The parser
const ERROR = 0;
const parse = async (source) => {
  const { document, diagnostics } = await new Parser().parse(source, { source: `${docs}asyncapi.yaml` });
  return { document, errors: diagnostics.filter((one) => one.severity === ERROR), diagnostics };
};
const { document, errors, diagnostics } = await parse(text);
for (const one of diagnostics) {
  const line = `asyncapi.yaml:${(one.range?.start.line ?? 0) + 1}: ${one.code}: ${one.message} (${one.path.join('.')})`;
  if (one.severity === ERROR) fault(line);
  else if (one.code !== 'asyncapi-latest-version') console.log(`note: ${line}`);
}
if (!document) {
  console.error(faults.join('\n'));
  process.exit(1);
}

// The schemas and the examples
const ajv = new Ajv2020({ strict: true, strictRequired: false, strictTypes: false, allErrors: true });
addFormats(ajv);
const validators = new Map();
for (const file of (await readdir(`${docs}schemas`)).sort()) {
  const schema = await json(`schemas/${file}`);
  const name = basename(file, '.json');
  if (schema.$id !== `urn:beaconfence:schema:${name}:v1`) fault(`schemas/${file}: its $id is ${schema.$id}`);
  validators.set(`./schemas/${file}`, ajv.compile(schema));
}
const wanted = new Set([...validators.keys()].filter((path) => !ELSEWHERE.includes(basename(path, '.json'))));
const examples = new Set((await readdir(`${docs}examples`)).map((file) => `./examples/${file}`));
const unnamed = new Set(examples);
const raw = yaml.load(text);
let checked = 0;
for (const [name, message] of Object.entries(raw.components.messages)) {
  const schema = message.payload.$ref;
  if (!schema) continue;
  wanted.delete(schema);
  const validate = validators.get(schema);
  if (!validate) { fault(`message ${name}: there is no ${schema}`); continue; }
  if (!message.examples?.length) fault(`message ${name} has no example`);
  for (const { payload } of message.examples ?? []) {
    if (!examples.has(payload.$ref)) { fault(`message ${name}: there is no ${payload.$ref}`); continue; }
    unnamed.delete(payload.$ref);
    const value = await json(payload.$ref);
    checked += 1;
    if (!validate(value)) fault(`${payload.$ref}: ${ajv.errorsText(validate.errors)}`);
    // A mutilated one must be refused; attributes are free but for their types.
    const broken = schema.endsWith('device-attributes.json') ? { ...value, consent: 'yes' } : Object.fromEntries(Object.entries(value).slice(1));
    if (validate(broken)) fault(`${schema} lets pass a mutilated ${payload.$ref}`);
  }
}
for (const path of wanted) fault(`${path} is in no message of asyncapi.yaml`);
for (const path of unnamed) fault(`${path} is in no message of asyncapi.yaml`);
for (const [name, operation] of Object.entries(raw.operations)) {
  if (!operation.bindings?.$ref) fault(`operation ${name} does not say QoS and retain`);
}
const used = new Set(Object.values(raw.operations).map((operation) => operation.channel.$ref));
for (const name of Object.keys(raw.channels)) {
  if (!used.has(`#/channels/${name}`)) fault(`channel ${name} has no operation`);
}
// The topics of mqtt.md are those of the document.
const table = (await readFile(`${docs}mqtt.md`, 'utf8')).split('\n').filter((line) => /^\| `\{site\}\//.test(line));
const said = new Set(table.flatMap((line) => {
  const [first, ...more] = [...line.split('|')[1].matchAll(/`([^`]+)`/g)].map((match) => match[1]);
  const stem = first.replace(/\/[^/{}]+$/, '');
  return [first, ...more.map((end) => end.replace('…', end === '…/done' ? first : stem))];
}));
const named = new Set(Object.values(raw.channels).map((channel) => channel.address.replace('{prefix}/', '')));
for (const topic of said) if (!named.has(topic)) fault(`mqtt.md has the topic ${topic}, asyncapi.yaml has not`);
for (const topic of named) if (!said.has(topic)) fault(`asyncapi.yaml has the topic ${topic}, mqtt.md has not`);

// What is broken must be refused.
const breaks = [
  ['a channel that is not there', (it) => it.replace("'#/channels/triggers'", "'#/channels/nothing'")],
  ['a schema that is not there', (it) => it.replace('./schemas/trigger.json', './schemas/nothing.json')],
  ['an action that is none', (it) => it.replace('action: receive', 'action: wait')],
  ['a QoS that is none', (it) => it.replace('qos: 1', 'qos: 7')],
  ['a document without a version', (it) => it.replace('  version: 1.0.0\n', '')],
];
for (const [what, change] of breaks) {
  const changed = change(text);
  if (changed === text) fault(`the document has nothing to break for: ${what}`);
  else if ((await parse(changed)).errors.length === 0) fault(`the parser lets pass ${what}`);
}

if (faults.length > 0) {
  console.error(faults.join('\n'));
  process.exit(1);
}
console.log(
  `asyncapi: ${document.allChannels().length} channels, ${document.allOperations().length} operations, ` +
    `${checked} examples, ${validators.size} schemas; ${breaks.length} broken documents refused`,
);
