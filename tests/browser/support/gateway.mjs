// A gateway as it is installed, a broker for it, and what its radios hear.

import { spawn, execFileSync } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';

export const BINARY = process.env.BEACONFENCE;
const ROOT = path.resolve(import.meta.dirname, '../../..');
export const STORE = path.join(ROOT, 'deploy/examples/store');
const PATIENCE_MS = 30_000;

/** A port that nobody listens on. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Waits until `check` gives something; fails with `what` after a while. */
export async function until(what, check, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  let last;
  while (Date.now() < end) {
    try {
      const value = await check();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  throw new Error(`waited in vain for ${what}${last ? `: ${last.message}` : ''}`);
}

function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  child.said = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', data => {
      child.said += data;
    });
  child.ended = new Promise(resolve => {
    child.on('exit', resolve);
  });
  return child;
}

async function stop(child) {
  if (!child || child.exitCode !== null) return;
  child.kill('SIGTERM');
  const killer = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await child.ended;
  clearTimeout(killer);
}

/**
 * A gateway over a new database. `site` is a site directory to start from; without it the store is empty. Without `rules` those of the
 * directory are left out.
 */
export async function gateway({ site, rules = true, sightings = false } = {}) {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'beaconfence-browser-'));
  if (site && !rules) {
    fs.cpSync(site, path.join(dir, 'site'), { recursive: true });
    fs.rmSync(path.join(dir, 'site/triggers.toml'));
    site = 'site';
  }
  const [broker, port] = [await freePort(), await freePort()];
  fs.writeFileSync(
    path.join(dir, 'mosquitto.conf'),
    `listener ${broker} 127.0.0.1\nallow_anonymous true\npersistence false\n`,
  );
  const mosquitto = start('mosquitto', ['-c', path.join(dir, 'mosquitto.conf')]);
  fs.writeFileSync(
    path.join(dir, 'gateway.toml'),
    [
      'id = "gateway-1"',
      site ? `site = "${site}"` : '',
      'data_dir = "data"',
      '[http]',
      `listen = ["127.0.0.1:${port}"]`,
      '[mqtt]',
      `brokers = ["mqtt://127.0.0.1:${broker}"]`,
      '',
    ].join('\n'),
  );
  const args = ['run', '--config', path.join(dir, 'gateway.toml')];
  const pipe = path.join(dir, 'sightings');
  if (sightings) {
    execFileSync('mkfifo', [pipe]);
    args.push('--sightings', pipe);
  }
  const child = start(BINARY, args, { cwd: dir });
  // Opened for both, so that neither end waits for the other.
  const feed = sightings ? fs.openSync(pipe, fs.constants.O_RDWR | fs.constants.O_NONBLOCK) : null;
  const socket = path.join(dir, 'data/api.sock');
  const url = `http://127.0.0.1:${port}`;
  try {
    await until('the gateway to answer', async () => {
      if (child.exitCode !== null) throw new Error(`the gateway ended: ${child.said}`);
      return (await fetch(`${url}/healthz`)).ok;
    });
  } catch (error) {
    await stop(child);
    await stop(mosquitto);
    throw new Error(`${error.message}\n${child.said}`);
  }
  return {
    url,
    said: () => child.said,
    /** A request over the gateway's own socket, where everybody may do everything. */
    local: (method, to, body) => local(socket, method, to, body),
    /** A one-time link, as an administrator hands it out. */
    link: async role => (await local(socket, 'POST', '/api/v1/session/links', { role, minutes: 10 })).url,
    /** A new token. */
    token: async (name, role) => (await local(socket, 'POST', '/api/v1/tokens', { name, role })).token,
    /** Hears something. */
    hear(lines) {
      try {
        fs.writeSync(feed, lines.map(line => `${JSON.stringify(line)}\n`).join(''));
      } catch (error) {
        // The pipe is full: what is in the air and not heard is lost, as with a radio.
        if (error.code !== 'EAGAIN') throw error;
      }
    },
    async close() {
      if (feed !== null) fs.closeSync(feed);
      await stop(child);
      await stop(mosquitto);
      fs.rmSync(dir, { recursive: true, force: true });
      if (/\b(ERROR|panicked)\b/.test(child.said)) throw new Error(`the gateway logged an error:\n${child.said}`);
    },
  };
}

function local(socketPath, method, to, body) {
  return new Promise((resolve, reject) => {
    const request = http.request(
      { socketPath, method, path: to, headers: { Host: 'localhost', 'Content-Type': 'application/json' } },
      response => {
        let text = '';
        response.on('data', data => {
          text += data;
        });
        response.on('end', () =>
          response.statusCode < 300
            ? resolve(text ? JSON.parse(text) : null)
            : reject(new Error(`${method} ${to}: ${response.statusCode} ${text}`)),
        );
      },
    );
    request.on('error', reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** The demonstration; resolves once it has said its one-time address. */
export async function demo(args = []) {
  const child = start(BINARY, ['demo', ...args]);
  const url = await until('the one-time address of the demonstration', () => {
    if (child.exitCode !== null) throw new Error(`it ended: ${child.said}`);
    return child.said.match(/http:\/\/\S+#code=[\w-]+/)?.[0];
  }).catch(async error => {
    await stop(child);
    throw new Error(`${error.message}\n${child.said}`);
  });
  return { url, close: () => stop(child) };
}

/**
 * An iBeacon at a place, as receivers hear it: the log-distance law, with a little noise that is the same every time.
 */
export class Beacon {
  constructor(uuid, major, minor, place, power = -59) {
    const hex = value => value.toString(16).padStart(4, '0');
    this.data = `0215${uuid.replaceAll('-', '')}${hex(major)}${hex(minor)}${(power & 0xff).toString(16)}`;
    this.address = `c2:00:00:00:${hex(minor).match(/../g).join(':')}`;
    Object.assign(this, { place, power, count: 0 });
  }

  /** What `receivers` (`[id, x, y]`) hear of it now. */
  heard(receivers) {
    this.count += 1;
    return receivers.map(([receiver, x, y], at) => {
      const distance = Math.max(0.4, Math.hypot(this.place[0] - x, this.place[1] - y));
      const noise = Math.sin(this.count * 12.9898 + at * 78.233) * 2;
      return {
        time: new Date().toISOString(),
        receiver,
        address: this.address,
        address_type: 'random',
        rssi: Math.round(this.power - 25 * Math.log10(distance) + noise),
        manufacturer_data: { '004c': this.data },
      };
    });
  }
}
