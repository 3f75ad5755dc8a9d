// Speaks to the gateway's API. Every failure becomes a `Problem` that says what is wrong and what to do.

import { t } from './i18n.js';

const ROOT = '/api/v1';

/** What went wrong with a request: the problem+json of the gateway, or the lack of an answer. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || String(status));
    this.status = status;
    this.name_ = (body.type ?? '').split(':').pop();
    this.errors = body.errors ?? [];
    this.etag = body.etag ?? null;
  }

  /** Whether the gateway could not be reached at all. */
  get offline() {
    return this.status === 0;
  }
}

let onSignedOut = () => {};

/** Says what to do when the session has ended. */
export function whenSignedOut(then) {
  onSignedOut = then;
}

/** Path of a record, with its parts escaped. */
export function path(...parts) {
  return '/' + parts.map(part => encodeURIComponent(part)).join('/');
}

/** The query of a list; what is empty is left out. */
export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return pairs.length ? '?' + new URLSearchParams(pairs) : '';
}

async function request(method, to, { body, headers = {}, type, quiet, signal } = {}) {
  const options = {
    method,
    headers: { Accept: 'application/json', ...headers },
    credentials: 'same-origin',
    signal,
    cache: 'no-cache',
  };
  if (body !== undefined) {
    const raw = body instanceof Blob || typeof body === 'string';
    options.body = raw ? body : JSON.stringify(body);
    options.headers['Content-Type'] = type ?? 'application/json';
  }
  let response;
  try {
    response = await fetch(ROOT + to, options);
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Problem(0, { detail: t('problem.offline') });
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  if (response.status === 401 && !quiet) onSignedOut();
  throw problem;
}

async function problemOf(response) {
  let body = {};
  try {
    body = await response.json();
  } catch {
    // Not everything between us and the gateway answers in JSON.
  }
  if (response.status === 401) body.detail = t('problem.unauthenticated');
  if (response.status === 403) body.detail = t('problem.forbidden');
  if (response.status === 429) body.detail = t('problem.too-many');
  return new Problem(response.status, body);
}

const answer = async response => (response.status === 204 ? null : response.json());

/** GET, as JSON. */
export async function get(to, options) {
  return answer(await request('GET', to, options));
}

/** GET with the ETag, for a later change: `{record, etag}`. */
export async function getRecord(to) {
  const response = await request('GET', to);
  return { record: await response.json(), etag: response.headers.get('ETag') };
}

/** GET of bytes: `{blob, etag}`. */
export async function getBlob(to) {
  const response = await request('GET', to, { headers: { Accept: '*/*' } });
  return { blob: await response.blob(), etag: response.headers.get('ETag') };
}

/** POST, as JSON. */
export async function post(to, body, options) {
  return answer(await request('POST', to, { body: body ?? {}, ...options }));
}

/** POST of a new record: `{record, etag, revision}`. */
export async function create(to, body) {
  return changed(await request('POST', to, { body }));
}

/** PUT in place of what `etag` names, or a new one where it is null: `{record, etag, revision}`. */
export async function put(to, body, etag, options) {
  const headers = etag ? { 'If-Match': etag } : { 'If-None-Match': '*' };
  return changed(await request('PUT', to, { body, headers, ...options }));
}

/** DELETE of what `etag` names: the revision that it made. */
export async function remove(to, etag) {
  return (await changed(await request('DELETE', to, { headers: etag ? { 'If-Match': etag } : {} }))).revision;
}

async function changed(response) {
  const revision = Number(response.headers.get('Beaconfence-Revision')) || null;
  return { record: await answer(response), etag: response.headers.get('ETag'), revision };
}

/** All items of a list, page by page, up to `most`. */
export async function all(collection, filter = {}, most = 20_000) {
  const items = [];
  let cursor = null;
  do {
    const page = await get(`/${collection}${query({ ...filter, limit: 1000, cursor })}`);
    items.push(...(page.items ?? page.features ?? []));
    cursor = page.next ?? null;
  } while (cursor && items.length < most);
  return items;
}
