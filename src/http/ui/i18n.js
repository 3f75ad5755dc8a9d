// The language: one file of texts a language, chosen by the person, else by the browser.

const LANGUAGES = ['en', 'fr'];
let texts = {};
export let language = 'en';
let plural = new Intl.PluralRules('en');

/** The languages there are, each by its own name. */
export const languages = [
  ['en', 'English'],
  ['fr', 'Français'],
];

/** Loads the texts of the language to start with. */
export async function start() {
  const chosen = localStorage.getItem('language');
  const wanted = [chosen, ...(navigator.languages ?? [navigator.language])].filter(Boolean).map(tag => tag.slice(0, 2));
  await use(wanted.find(tag => LANGUAGES.includes(tag)) ?? 'en');
}

/** Takes another language, and remembers it. */
export async function choose(tag) {
  localStorage.setItem('language', tag);
  await use(tag);
}

async function use(tag) {
  const response = await fetch(`/ui/texts/${tag}.json`);
  texts = await response.json();
  language = tag;
  plural = new Intl.PluralRules(tag);
  document.documentElement.lang = tag;
}

/** The text of `key`, with `{name}` replaced. A missing key shows itself. */
export function t(key, values) {
  const text = texts[key] ?? key;
  return values ? text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole)) : text;
}

/** The text of `key.one` or `key.other`, as `count` needs it; `{n}` is the count. */
export function tn(key, count, values) {
  const form = plural.select(count) === 'one' ? 'one' : 'other';
  return t(`${key}.${form}`, { n: number(count), ...values });
}

/** The text of `prefix` and a word of the gateway's; the word itself where we have none, because the API may grow. */
export function word(prefix, value) {
  return texts[prefix + value] ?? String(value);
}

/** A number as people of the language write it. */
export function number(value, digits = 0) {
  return new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }).format(
    value,
  );
}

/** Metres, to a tenth; centimetres below one metre. */
export function metres(value) {
  return `${number(value, Math.abs(value) < 1 ? 2 : 1)} m`;
}

/** Square metres. */
export function area(value) {
  return `${number(value, 1)} m²`;
}

/** A share as per cent. */
export function percent(value) {
  return new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 }).format(value);
}

/** The gateway's clock goes before this one by so much: its own may be wrong, and that of the demonstration is made up. */
let ahead = 0;

/** Takes over what time it is at the gateway. */
export function clockIs(iso) {
  ahead = Date.parse(iso) - Date.now();
}

/** What time it is at the gateway, in milliseconds. */
export const now = () => Date.now() + ahead;

/** An instant: the time of day, with the date where it is not today. */
export function instant(iso) {
  if (!iso) return t('never');
  const date = new Date(iso);
  const time = date.toLocaleTimeString(language, {
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
  });
  const today = new Date(now());
  if (date.toDateString() === today.toDateString()) return time;
  const year = date.getFullYear() === today.getFullYear() ? undefined : 'numeric';
  return `${date.toLocaleDateString(language, { day: 'numeric', month: 'short', year })} ${time}`;
}

/** How long ago. */
export function ago(iso) {
  if (!iso) return t('never');
  const seconds = Math.round((now() - Date.parse(iso)) / 1000);
  if (seconds < 5) return t('just-now');
  const format = new Intl.RelativeTimeFormat(language, { numeric: 'auto' });
  if (seconds < 90) return format.format(-seconds, 'second');
  if (seconds < 5400) return format.format(-Math.round(seconds / 60), 'minute');
  if (seconds < 129600) return format.format(-Math.round(seconds / 3600), 'hour');
  return format.format(-Math.round(seconds / 86400), 'day');
}

/** A length of time in the two largest units that it has. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = [
    [86400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ];
  const first = parts.findIndex(([size]) => whole >= size);
  if (first < 0) return '0 s';
  const [size, unit] = parts[first];
  const rest = parts[first + 1];
  const more = rest ? Math.floor((whole % size) / rest[0]) : 0;
  return `${Math.floor(whole / size)} ${unit}${more ? ` ${more} ${rest[1]}` : ''}`;
}
