// The stream of what happens (server-sent events), kept alive: after a loss it is taken up again, later and later.

import { get } from './api.js';

const KINDS = ['presence-event', 'positions', 'presence', 'occupancy', 'registry', 'nearby', 'status', 'missed'];
const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 15_000;

/** Opens the stream; `handle(kind, data)` for each message, `state('open'|'lost'|'ended')` for the connection. */
export function open(handle, state) {
  let source = null;
  let wait = FIRST_WAIT_MS;
  let timer = null;
  let closed = false;

  function connect() {
    source = new EventSource('/api/v1/events/stream');
    source.addEventListener('open', () => {
      wait = FIRST_WAIT_MS;
      state('open');
    });
    source.addEventListener('error', lost);
    for (const kind of KINDS) source.addEventListener(kind, message => handle(kind, JSON.parse(message.data)));
  }

  async function lost() {
    if (closed) return;
    state('lost');
    // The browser connects again by itself, unless the gateway answered with a refusal.
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    try {
      await get('/session');
    } catch (problem) {
      if (problem.status === 401) {
        closed = true;
        return;
      }
    }
    if (closed) return;
    timer = setTimeout(connect, wait);
    wait = Math.min(wait * 2, LONGEST_WAIT_MS);
  }

  connect();
  return function close() {
    closed = true;
    clearTimeout(timer);
    source.close();
  };
}
