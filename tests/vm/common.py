"""What the radio scenarios and the mock cases share: the gateway, a broker, a subscriber, and a small store to watch."""
import json
import math
import os
import re
import struct
import subprocess
import threading
import time
from collections import namedtuple
from datetime import datetime
from pathlib import Path

SITE = 'site'
PREFIX = f'beaconfence/v1/{SITE}'
GATEWAY = 'gw1'
# Long enough not to fire in a pause of the machine, short enough that an invented `exited` shows within a scenario.
LOST_AFTER = 12


class Failed(Exception):
    """What was expected did not happen; the message says what."""


def wait(what, seconds, probe, every=0.1):
    """Calls `probe` until it answers with something true, and returns that. Failed after `seconds`."""
    limit = time.monotonic() + seconds
    while True:
        if answer := probe():
            return answer
        if time.monotonic() > limit:
            raise Failed(f'{what}: not within {seconds} s')
        time.sleep(every)


def check(condition, message):
    if not condition:
        raise Failed(message)


# ---------------------------------------------------------------------------------------------------- advertisements

FLAGS = b'\x02\x01\x06'


def ibeacon_body(uuid, major, minor, power=-59):
    """Apple's manufacturer data of an iBeacon, without the company id."""
    return b'\x02\x15' + bytes.fromhex(uuid.replace('-', '')) + struct.pack('>HHb', major, minor, power)


def eddystone_uid_body(namespace, instance, power_at_0m=-18):
    """The service data of 0xFEAA."""
    return b'\x00' + struct.pack('b', power_at_0m) + bytes.fromhex(namespace + instance) + b'\x00\x00'


def ibeacon(*args):
    body = b'\x4c\x00' + ibeacon_body(*args)
    return FLAGS + bytes([len(body) + 1, 0xff]) + body


def eddystone_uid(*args):
    body = b'\xaa\xfe' + eddystone_uid_body(*args)
    return FLAGS + b'\x03\x03\xaa\xfe' + bytes([len(body) + 1, 0x16]) + body


Beacon = namedtuple('Beacon', 'id identity device address data')

UUID = 'e2c56db5-dffb-48d2-b060-d0f5a71096e0'
NAMESPACE, INSTANCE = '00112233445566778899', 'aabbccddeeff'
CART = Beacon('b-cart', f'ibeacon:{UUID}/1/2', 'cart', 'C0:FF:EE:00:00:01', ibeacon(UUID, 1, 2))
BADGE = Beacon('b-badge', f'eddystone-uid:{NAMESPACE}/{INSTANCE}', 'badge', 'C0:FF:EE:00:00:02',
               eddystone_uid(NAMESPACE, INSTANCE))
REGISTERED = [CART, BADGE]
# Never registered: somebody else's beacon, and one of the store's own UUID with a number that nobody gave out.
STRANGER_UUID = '5afe57a6-1234-4321-9bcd-00c0ffee1234'
STRANGER = Beacon('stranger', f'ibeacon:{STRANGER_UUID}/7/8', None, 'D5:5A:FE:57:A6:01', ibeacon(STRANGER_UUID, 7, 8))
UNNUMBERED = Beacon('unnumbered', f'ibeacon:{UUID}/9/9', None, 'D5:5A:FE:57:A6:02', ibeacon(UUID, 9, 9))


# --------------------------------------------------------------------------------------------------- the store's files

def write_store(directory, adapters, port, beacons=REGISTERED, mqtt_version='5'):
    """gateway.toml and the site directory: one level of 40 m x 40 m, the receivers in its middle, one zone over it all."""
    site = directory / 'site'
    site.mkdir(parents=True)
    (directory / 'gateway.toml').write_text(
        f'id = "{GATEWAY}"\nsite = "site"\ndata_dir = "data"\n'
        + ''.join(f'\n[[adapter]]\nname = "{name}"\nreceiver = "{receiver}"\n' for name, receiver in adapters)
        + f'\n[mqtt]\nbrokers = ["mqtt://127.0.0.1:{port}"]\nversion = "{mqtt_version}"\nstatus_interval = "2s"\n')
    latitude, longitude = 48.8566, 2.3522
    (site / 'site.toml').write_text(
        f'id = "{SITE}"\nname = "Radio test"\ntime_zone = "Europe/Paris"\n'
        f'origin = {{ latitude = {latitude}, longitude = {longitude}, bearing = 0.0 }}\n\n'
        '[[level]]\nordinal = 0\nname = "Ground"\nelevation = 0.0\n'
        'outline = [[-20, -20], [20, -20], [20, 20], [-20, 20]]\n'
        + ''.join(f'\n[[receiver]]\nid = "{receiver}"\nx = {float(i)}\ny = 0.0\nz = 2.5\nlevel = 0\n'
                  for i, (_, receiver) in enumerate(adapters)))
    north = 19.5 / 111_200
    east = 19.5 / (111_320 * math.cos(math.radians(latitude)))
    ring = [[longitude + x * east, latitude + y * north] for x, y in [(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]]
    (site / 'zones.geojson').write_text(json.dumps({'type': 'FeatureCollection', 'features': [{
        'type': 'Feature',
        'properties': {'id': 'floor', 'name': 'Floor', 'level': 0, 'enter_after': '1s', 'lost_after': f'{LOST_AFTER}s'},
        'geometry': {'type': 'Polygon', 'coordinates': [ring]}}]}))
    (site / 'beacons.csv').write_text(
        'id,identity,device,x,y,level,measured_power\n' + ''.join(f'{b.id},{b.identity},{b.device},,,,\n' for b in beacons))
    (site / 'devices.csv').write_text('id,consent,labels,kind\n' + ''.join(f'{b.device},,,asset\n' for b in beacons))
    return directory / 'gateway.toml'


# -------------------------------------------------------------------------------------------------------- the processes

def end(process, seconds=5):
    """SIGTERM, then SIGKILL after `seconds`; the exit code."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(seconds)


class Broker:
    def __init__(self, results, port):
        self.port = port
        config = results / 'mosquitto.conf'
        config.write_text(f'listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n')
        with open(results / 'mosquitto.log', 'w') as log:
            self.process = subprocess.Popen(['mosquitto', '-v', '-c', str(config)], stdout=log, stderr=log)
        self.log = results / 'mosquitto.log'
        wait('the broker listens', 10, lambda: self.process.poll() is not None or 'Opening ipv4' in self.log.read_text())
        check(self.process.poll() is None, f'mosquitto ended: {self.log.read_text()[-300:]}')


Message = namedtuple('Message', 'received retained qos topic payload')


class Subscriber:
    """mosquitto_sub on every topic, each message kept with its time of arrival and written to messages.jsonl."""

    def __init__(self, results, port):
        self.messages = []
        self.record = open(results / 'messages.jsonl', 'w')
        self.process = subprocess.Popen(
            ['mosquitto_sub', '-p', str(port), '-h', '127.0.0.1', '-V', 'mqttv5', '-q', '1', '-t', '#',
             '-F', r'%r\t%q\t%t\t%x'], stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            retained, qos, topic, payload = line.rstrip('\n').split('\t')
            message = Message(time.monotonic(), retained == '1', int(qos), topic, bytes.fromhex(payload))
            self.messages.append(message)
            self.record.write(json.dumps({'received': round(time.time(), 3), 'topic': topic,
                                          'payload': message.payload.decode(errors='replace')}) + '\n')
            self.record.flush()

    def events(self, change=None, zone=None, device=None):
        """The presence events so far, as (topic, CloudEvent); every one is checked."""
        found = []
        for message in list(self.messages):
            if message.topic.startswith(f'{PREFIX}/events/'):
                event = check_event(message)
                if (change in (None, event['type'].rsplit('.', 1)[1]) and zone in (None, event['data']['zone']['id'])
                        and device in (None, event['subject'])):
                    found.append(event)
        return found

    def status(self):
        """The gateway's latest status; {} before the first."""
        for message in reversed(self.messages):
            if message.topic == f'{PREFIX}/gateways/{GATEWAY}/status' and message.payload:
                return {**json.loads(message.payload), 'received': message.received}
        return {}

    def receiver(self, name):
        return self.status().get('receivers', {}).get(name, {})


def check_event(message):
    """A presence event is a CloudEvent 1.0 in structured JSON, and says what its topic says."""
    try:
        event = json.loads(message.payload)
        zone, change = message.topic.removeprefix(f'{PREFIX}/events/').split('/')
        for attribute in 'id', 'source', 'specversion', 'type', 'subject', 'time', 'dataschema':
            assert isinstance(event[attribute], str) and event[attribute], f'attribute {attribute}'
        assert event['specversion'] == '1.0', 'specversion'
        assert event['source'] == f'/beaconfence/{SITE}', 'source'
        assert event['type'] == f'io.beaconfence.presence.{change}', 'type'
        assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z', event['time']), 'time'
        datetime.strptime(event['time'], '%Y-%m-%dT%H:%M:%S.%fZ')
        data = event['data']
        assert data['zone']['id'] == zone, 'zone'
        assert data['device']['id'] == event['subject'], 'device'
        assert data['site'] == SITE and data['gateway'] == GATEWAY, 'site or gateway'
        assert data['observed_at'] == event['time'], 'observed_at'
        for field in 'epoch', 'sequence', 'visit_id', 'visit_sequence', 'decided_at':
            assert data.get(field) is not None, f'data.{field}'
        assert change != 'exited' or data.get('reason'), 'data.reason'
        assert message.qos == 1 and not message.retained, 'QoS 1, not retained'
    except (AssertionError, KeyError, ValueError, TypeError) as error:
        raise Failed(f'not a valid event ({error!r}): {message.topic} {message.payload[:400]!r}') from None
    return event


class Gateway:
    def __init__(self, results, config, environment=None):
        self.log = results / 'gateway.log'
        self.out = open(self.log, 'w')
        self.process = subprocess.Popen([os.environ['BEACONFENCE_BIN'], 'run', '--config', str(config)], stdin=subprocess.DEVNULL,
                                        stdout=self.out, stderr=self.out, env={**os.environ, **(environment or {})})

    def check_alive(self):
        check(self.process.poll() is None, f'the gateway ended with code {self.process.poll()}')

    def resident_kb(self):
        self.check_alive()
        return int(re.search(r'VmRSS:\s+(\d+) kB', Path(f'/proc/{self.process.pid}/status').read_text()).group(1))


def check_unmentioned(beacon, subscriber, gateway):
    """Nothing of somebody else's beacon leaves the process: neither in a payload nor in the log."""
    address = beacon.address.replace(':', '')
    kind, identity = beacon.identity.split(':', 1)
    uuid = identity.split('/')[0].replace('-', '')
    secrets = [address] if uuid in CART.identity.replace('-', '') else [address, uuid]
    places = [(m.topic, m.topic + m.payload.decode(errors='replace')) for m in list(subscriber.messages)]
    for place, text in [*places, ('the log', gateway.log.read_text(errors='replace'))]:
        plain = re.sub(r'[-:_]', '', text).lower()
        for secret in secrets:
            check(secret.lower() not in plain, f'the unregistered beacon {beacon.id} ({secret}) is named in {place}')
