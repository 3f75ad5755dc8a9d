#!/usr/bin/python3
"""One scenario in the guest: virtual controllers, the real bluetoothd, the gateway under test, a real broker.

usage: scenarios.py SCENARIO RESULTS     (--list prints the scenarios, --site DIR writes the store of their gateways)

Writes RESULTS/outcome: `passed`, or `FAILED: why`. Every scenario is a function below; its docstring is what must hold.
"""
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

from common import (BADGE, CART, LOST_AFTER, REGISTERED, STRANGER, UNNUMBERED, Broker, Failed, Gateway, Subscriber, check,
                    check_event, check_unmentioned, end, wait, write_store)

MQTT_PORT = 1883
RECOVERY = 30        # seconds after a fault's end within which sightings must count again
STALL_SCANS = 4
AWAY = LOST_AFTER + 4  # seconds of a radio's absence: long enough for an invented `exited`
RATE = 5             # advertisements a second of each beacon


def note(text):
    """Goes to the scenario's printed results: figures, not verdicts."""
    print(f'[{time.monotonic():7.2f}] {text}', flush=True)
    with open(RESULTS / 'notes', 'a') as notes:
        notes.write(text + '\n')


class Controller:
    """A virtual controller; hci0 is the first one plugged in."""

    plugged = []

    def __init__(self, name='hci0', strict_filter=True, senders=()):
        self.socket = f'/run/vctl-{name}-{time.monotonic()}.sock'
        log = open(RESULTS / f'vctl-{name}.log', 'a')
        number = int(name.removeprefix('hci'))
        self.process = subprocess.Popen(
            ['/usr/bin/python3', '/mnt/tests/vm/vctl.py', '--socket', self.socket, '--address', f'F0:F1:F2:F3:F4:F{number}']
            + ['--strict-filter'] * strict_filter + [f'--sender={kind}' for kind in senders], stdout=log, stderr=log)
        wait(f'the virtual controller {name} starts', 20, lambda: os.path.exists(self.socket))
        Controller.plugged.append(self)
        wait(f'the kernel takes it as {name}', 10, lambda: self.do('stats')['adapter'] == name)

    def do(self, action, timeout=15, **arguments):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout)
            connection.connect(self.socket)
            connection.sendall(json.dumps({'do': action, **arguments}).encode() + b'\n')
            answer = json.loads(connection.makefile().readline())
        if 'error' in answer:
            raise Failed(f'virtual controller, {action}: {answer["error"]}')
        return answer['ok']

    def start(self, *beacons, rssi=-52, swing=3):
        for b in beacons:
            self.do('start', name=b.id, address=b.address, data=b.data.hex(), rssi=rssi, swing=swing, interval=1 / RATE)

    def count(self, field, *beacons):
        counters = self.do('stats')['beacons']
        return sum(counters.get(b.id, {}).get(field, 0) for b in beacons)

    def record(self):
        with open(RESULTS / 'controller-stats.jsonl', 'a') as file:
            file.write(json.dumps(self.do('stats')) + '\n')

    def unplug(self):
        self.record()
        self.process.kill()
        self.process.wait(10)
        Controller.plugged.remove(self)


class Bus:
    """The system bus."""

    def __init__(self):
        self.process = None
        self.start()

    def start(self):
        for leftover in Path('/run/dbus').iterdir():
            leftover.unlink()
        with open(RESULTS / 'dbus.log', 'a') as log:
            self.process = subprocess.Popen(['dbus-daemon', '--system', '--nofork', '--nopidfile'], stdout=log, stderr=log)
        wait('the system bus is there', 15, lambda: os.path.exists('/run/dbus/system_bus_socket'))

    def kill(self):
        self.process.kill()
        self.process.wait(10)


class Bluetoothd:
    def __init__(self, experimental):
        self.arguments = ['-E'] * experimental
        self.process = None
        self.start()

    def start(self):
        with open(RESULTS / 'bluetoothd.log', 'a') as log:
            self.process = subprocess.Popen(['/usr/libexec/bluetooth/bluetoothd', '-n', *self.arguments], stdout=log, stderr=log)

    def kill(self):
        self.process.kill()
        self.process.wait(10)


def bluez(path, method, *arguments):
    """A call to bluetoothd through a process of its own, since the bus is killed at times; None where it fails."""
    command = ['dbus-send', '--system', '--print-reply', '--reply-timeout=3000', '--dest=org.bluez', path, method, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=6)
    except subprocess.TimeoutExpired:
        return None
    return done.stdout if done.returncode == 0 else None


def wait_for_adapter(name):
    wait(f'bluetoothd has {name}', 20,
         lambda: f'/org/bluez/{name}"' in (bluez('/', 'org.freedesktop.DBus.ObjectManager.GetManagedObjects') or ''), every=0.3)


def set_powered(name, on):
    value = 'true' if on else 'false'
    check(bluez(f'/org/bluez/{name}', 'org.freedesktop.DBus.Properties.Set', 'string:org.bluez.Adapter1', 'string:Powered',
                f'variant:boolean:{value}') is not None, f'bluetoothd did not set Powered={value} of {name}')


class Store:
    """The whole chain, up to a gateway that has begun to scan."""

    def __init__(self, adapters=(('hci0', 'r1'),), strict_filter=True, experimental=True, beacons=REGISTERED,
                 senders=()):
        self.adapters = adapters
        self.bus = Bus()
        self.bluetoothd = Bluetoothd(experimental)
        self.strict_filter = strict_filter
        self.radio = Controller('hci0', strict_filter, senders)
        wait_for_adapter('hci0')
        self.broker = Broker(RESULTS, MQTT_PORT)
        self.subscriber = Subscriber(RESULTS, MQTT_PORT)
        self.config = write_store(Path('/tmp/gateway'), adapters, MQTT_PORT, beacons)
        self.gateway = Gateway(RESULTS, self.config)
        self.epoch = None
        wait('the gateway publishes its status', 20, lambda: self.gateway.check_alive() or self.subscriber.status())
        check(self.subscriber.status().get('state') == 'online', f'status says {self.subscriber.status()}')
        wait('the controller is told to scan', 20, lambda: self.radio.do('stats')['scanning'])

    def receiver(self, name='r1'):
        self.gateway.check_alive()
        return self.subscriber.receiver(name)

    def sightings(self, name='r1'):
        return self.receiver(name).get('sightings', 0)

    def settled_sightings(self, name='r1'):
        """The count once nothing is on the air any more: that of a status which came 3 s or more after this call."""
        asked = time.monotonic()
        wait('a fresh status', 10, lambda: self.subscriber.status()['received'] > asked + 3)
        return self.sightings(name)

    def wait_hearing(self, name='r1', seconds=RECOVERY, more=10, what='sightings count'):
        """Receiver `name` is up and has counted `more` sightings since now; says how long that took."""
        began, base = time.monotonic(), self.sightings(name)
        def probe():
            receiver = self.receiver(name)
            return receiver.get('state') == 'up' and receiver.get('sightings', 0) >= base + more
        try:
            wait(what, seconds, probe)
        except Failed as error:
            raise Failed(f'{error}; {name} had {base} sightings and says {self.receiver(name)}') from None
        return time.monotonic() - began

    def with_visitors(self):
        """Both devices are in the store: the start of every fault."""
        self.radio.start(*REGISTERED)
        for b in REGISTERED:
            wait(f'{b.device} entered the floor', 25, lambda: self.gateway.check_alive() or self.entered(b))
        wait('the receiver is up before the fault', 10, lambda: self.receiver().get('state') == 'up')
        return self

    def entered(self, beacon, zone='floor'):
        return self.subscriber.events('entered', zone, beacon.device)

    def check_down(self, began, name='r1'):
        """A status between `began` and now said that the receiver is not up, and why."""
        seen = [json.loads(m.payload)['receivers'].get(name, {}) for m in list(self.subscriber.messages)
                if m.topic.endswith('/status') and m.payload and m.received > began]
        check(any(r.get('state') not in ('up', None) for r in seen), f'{name} was never said to be down: {seen[-3:]}')

    def check_no_exit(self):
        self.gateway.check_alive()
        exits = self.subscriber.events('exited')
        check(not exits, 'invented: ' + ', '.join(f'{e["subject"]} exited {e["data"]["zone"]["id"]} ({e["data"]["reason"]})'
                                                 for e in exits))

    def fault(self, name, cause, cure, away=AWAY, expect_down=True):
        """`cause()`, the radio is away for `away` seconds, `cure()`; then it recovers by itself, and nobody left."""
        began = time.monotonic()
        note(f'{name}: begins')
        cause()
        while time.monotonic() < began + away:
            self.check_no_exit()
            time.sleep(0.5)
        if expect_down:
            self.check_down(began)
        cure()
        note(f'{name}: sightings again {self.wait_hearing(what=f"recovery from {name}"):.1f} s after its end')
        self.stay()

    def sample(self):
        """(sightings of r1, advertisements on the air), taken together when a status comes."""
        asked = time.monotonic()
        wait('a fresh status', 10, lambda: self.gateway.check_alive() or self.subscriber.status()['received'] > asked, every=0.02)
        return self.sightings(), self.radio.count('on_air', *REGISTERED)

    def stay(self):
        """All is as before: nobody leaves late (the hold of `lost_after` begins when the radio is back), and the radio is
        whole again, that is with its advertisement monitor, not with a strict filter's one sample in 10 s."""
        heard, sent = self.sample()
        settled = time.monotonic() + LOST_AFTER + 3
        while time.monotonic() < settled:
            self.check_no_exit()
            time.sleep(0.5)
        heard_later, sent_later = self.sample()
        heard, sent = heard_later - heard, sent_later - sent
        note(f'afterwards {heard} sightings of {sent} advertisements')
        check(heard >= 0.8 * sent, f'after the recovery only {heard} sightings of {sent} advertisements')

    def wait_all_lost(self):
        """The devices that were held still leave once they are truly gone."""
        self.radio.start(STRANGER)   # the radio is not silent, only the devices are
        self.radio.do('stop', name=CART.id)
        self.radio.do('stop', name=BADGE.id)
        for b in REGISTERED:
            exits = wait(f'{b.device} exited the floor', LOST_AFTER + 15,
                         lambda: self.gateway.check_alive() or self.subscriber.events('exited', 'floor', b.device))
            check(exits[0]['data']['reason'] == 'lost', f'{b.device} exited because {exits[0]["data"]["reason"]}, not lost')


# ------------------------------------------------------------------------------------------------------------ scenarios

def basic():
    """An iBeacon and an Eddystone-UID come and go; strangers leave no trace; the gateway ends on SIGTERM."""
    store = Store(strict_filter=False)    # here only: elsewhere the controller is of the harder kind
    store.radio.start(*REGISTERED, STRANGER, UNNUMBERED)
    for b in REGISTERED:
        for zone in 'floor', 'site':
            wait(f'{b.device} entered {zone}', 25, lambda: store.gateway.check_alive() or store.entered(b, zone))
    store.wait_hearing()
    receiver = store.receiver()
    note(f'receiver: {receiver}')
    check(receiver['advertisements'] > receiver['sightings'], f'strangers are counted as advertisements: {receiver}')
    store.check_no_exit()
    store.wait_all_lost()
    check(store.receiver()['state'] == 'up', f'the receiver stays up while strangers are heard: {store.receiver()}')
    check(len(store.subscriber.events('entered', 'floor')) == 2, 'each device entered once')
    code = end(store.gateway.process, 10)
    check(code == 0, f'exit code after SIGTERM: {code}')
    wait('status offline', 5, lambda: store.subscriber.status().get('state') == 'offline')
    for b in STRANGER, UNNUMBERED:
        check_unmentioned(b, store.subscriber, store.gateway)


def first_advertisement():
    """A device heard exactly once is counted and enters the store, whichever frame; its second one counts as well."""
    store = Store()
    time.sleep(2)
    for expected, b in enumerate([CART, BADGE, CART], start=1):
        store.radio.do('once', name=b.id, address=b.address, data=b.data.hex(), rssi=-52)
        wait(f'sighting {expected} ({b.id})', 10, lambda: store.sightings() >= expected)
    check(store.settled_sightings() == 3, f'3 advertisements were sent, {store.sightings()} sightings counted')
    for b in CART, BADGE:
        check(len(store.entered(b, 'site')) == 1, f'{b.device} entered the site on its only advertisement')


def measured_yield(store, seconds):
    """Sightings counted and advertisements on the air, both exactly, of `seconds` of two beacons with constant data."""
    base, on_air = store.sightings(), store.radio.count('on_air', *REGISTERED)
    store.radio.start(CART, swing=0)    # constant in RSSI too: the hardest case for every filter on the way
    store.radio.start(BADGE)
    time.sleep(seconds)
    store.radio.do('stop')
    seen = store.settled_sightings() - base
    sent = store.radio.count('on_air', *REGISTERED) - on_air
    note(f'{seen} sightings of {sent} advertisements in {seconds} s = {seen / sent:.1%}; '
         + ', '.join(f'{field} {store.radio.count(field, *REGISTERED)}' for field in ('reported', 'filtered', 'unheard')))
    check(sent >= 2 * RATE * seconds * 0.95, f'the virtual controller kept its pace: {sent}')
    check(seen <= sent, f'{seen} sightings of {sent} advertisements: some are counted twice')
    return seen, sent


def strict_filter():
    """A controller that filters duplicates strictly, bluetoothd -E: at least 90 % of the samples arrive."""
    store = Store()
    time.sleep(2)
    seen, sent = measured_yield(store, 24)
    check(seen >= 0.9 * sent, f'{seen} sightings of {sent} advertisements = {seen / sent:.0%}, expected 90 %')


def strict_filter_no_monitor():
    """The same without -E: the gateway cycles its scan, gets a sample per beacon each 2 s, and says what is missing."""
    store = Store(experimental=False)
    time.sleep(2)
    seconds = 24
    seen, _ = measured_yield(store, seconds)
    wanted = len(REGISTERED) * seconds // 2
    check(seen >= wanted, f'{seen} samples in {seconds} s, expected {wanted} (plain scanning gives about {2 * seconds // 10})')
    said = store.gateway.log.read_text(errors='replace') + json.dumps(store.subscriber.status())
    check(re.search('monitor', said, re.IGNORECASE), 'neither log nor status says that the advertisement monitor is missing')


def bluetoothd_killed():
    """bluetoothd is killed and comes back; devices that leave afterwards are still noticed."""
    store = Store().with_visitors()
    def restart():
        store.bluetoothd.start()
        wait_for_adapter('hci0')
    store.fault('bluetoothd-killed', store.bluetoothd.kill, restart)
    store.wait_all_lost()


def adapter_off():
    """Somebody powers the adapter off and leaves it off: the gateway powers it on again."""
    store = Store().with_visitors()
    store.fault('adapter-off', lambda: set_powered('hci0', False), lambda: None, away=0, expect_down=False)


def adapter_off_on():
    """Somebody powers the adapter off, and on again after 2 s."""
    store = Store().with_visitors()
    store.fault('adapter-off-on', lambda: set_powered('hci0', False), lambda: set_powered('hci0', True), away=2,
                expect_down=False)


def rfkill():
    """The radio is blocked (aeroplane mode) for longer than lost_after: nobody can power it on."""
    store = Store().with_visitors()
    def block(value):
        for switch in Path('/sys/class/rfkill').glob('rfkill*'):
            if (switch / 'type').read_text().strip() == 'bluetooth':
                return (switch / 'soft').write_text(value)
        raise Failed('the kernel has no rfkill switch for Bluetooth')
    store.fault('rfkill', lambda: block('1'), lambda: block('0'))


def unplugged():
    """The controller is pulled out and plugged in again; devices that leave afterwards are still noticed."""
    store = Store().with_visitors()
    def plug():
        store.radio = Controller('hci0', store.strict_filter)
        wait_for_adapter('hci0')
        store.radio.start(*REGISTERED)
    store.fault('unplugged', store.radio.unplug, plug)
    store.wait_all_lost()


def dbus_restart():
    """The system bus is killed with bluetoothd, as an upgrade does it, and both come back."""
    store = Store().with_visitors()
    def kill():
        store.bus.kill()
        store.bluetoothd.kill()
    def restart():
        store.bus.start()
        store.bluetoothd.start()
        wait_for_adapter('hci0')
    store.fault('dbus-restart', kill, restart)


def second_adapter():
    """hci1 is plugged in while the gateway runs: its receiver comes up and hears, and r1 is not disturbed."""
    store = Store(adapters=(('hci0', 'r1'), ('hci1', 'r2'))).with_visitors()
    check(store.receiver('r2').get('state') not in ('up', None), f'r2 has no adapter yet, its state: {store.receiver("r2")}')
    second = Controller('hci1')
    wait_for_adapter('hci1')
    second.start(*REGISTERED)
    note(f'second-adapter: r2 heard {store.wait_hearing("r2", what="r2 comes up"):.1f} s after it was plugged in')
    note(f'second-adapter: r1 heard more {store.wait_hearing("r1", 10, what="r1 goes on"):.1f} s later')
    second.unplug()
    wait('r2 down again', RECOVERY, lambda: store.receiver('r2').get('state') not in ('up', None))
    store.wait_hearing('r1', 10, what='r1 goes on without r2')
    store.check_no_exit()


def silent_stall():
    """The controller scans and hears nothing until it has been told to scan thrice anew: a watchdog must do it."""
    store = Store().with_visitors()
    began = time.monotonic()
    store.radio.do('stall', scans=STALL_SCANS)
    wait('the gateway restarts the scan', RECOVERY, lambda: not store.radio.do('stats')['stalled_for_scans'])
    store.wait_hearing(what='recovery from silent-stall')
    note(f'silent-stall: sightings again {time.monotonic() - began:.1f} s after it began')


def strangers():
    """3,000 strangers pass in 10 s: memory stays bounded, registered beacons stay heard, nobody is named."""
    store = Store().with_visitors()
    store.wait_hearing()
    base, on_air = store.sample()
    advertisements, before = store.receiver()['advertisements'], store.gateway.resident_kb()
    took = store.radio.do('crowd', timeout=60, count=3000, rate=300)['seconds']
    during, sent = store.sample()
    during, sent = during - base, sent - on_air
    store.wait_hearing(what='registered beacons after the crowd')
    after = store.gateway.resident_kb()
    passed = store.receiver()['advertisements'] - advertisements - (store.sightings() - base)
    note(f'strangers: 3000 in {took} s, {passed} of them counted; of registered beacons {during} sightings of {sent} advertisements '
         f'meanwhile; memory {before} kB before, {after} kB after')
    check(after - before <= 30_000, f'memory grew by {after - before} kB, at most 30000 expected')
    check(took < 20, f'the virtual controller kept its pace: {took} s for 3000')
    # A share of the samples cannot be demanded: on a busy machine bluetoothd itself falls behind (see README.md). A sample
    # per beacon in 2 s can, and that nothing of it stays once the crowd has passed.
    check(during >= len(REGISTERED) * took / 2, f'{during} sightings in {took} s while the strangers passed')
    check(passed >= 1500, f'{passed} advertisements counted of 3000 strangers')
    store.stay()


def linux_beacon():
    """A computer with BlueZ sends as a beacon, by a Bluetooth 4 controller and then by one of Bluetooth 5: heard as that
    very beacon, and as nothing else, from the script's start until its stop."""
    store = Store(senders=('legacy', 'extended'))
    def script(adapter, action):
        done = subprocess.run(['sh', '/mnt/results/linux-beacon.sh', action], env={**os.environ, 'HCI': adapter},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
        check(done.returncode == 0, f'the script, {action} with {adapter}, ended with {done.returncode}: {done.stdout}')
    def heard(adapter):
        return store.radio.do('stats')['beacons'].get(adapter, {}).get('reported', 0)
    def visits(change):
        store.gateway.check_alive()
        return len(store.subscriber.events(change, 'floor', CART.device))
    for visit, adapter in enumerate(['hci1', 'hci2'], start=1):
        wait_for_adapter(adapter)
        began = time.monotonic()
        script(adapter, 'start')
        wait(f'{CART.device} entered the floor', 25, lambda: visits('entered') == visit)
        wait(f'{adapter} is heard', 20, lambda: heard(adapter) >= 5)
        note(f'linux-beacon: {adapter} heard {heard(adapter)} times in {time.monotonic() - began:.1f} s')
        script(adapter, 'stop')
        last = heard(adapter)
        wait(f'{CART.device} exited the floor', LOST_AFTER + 15, lambda: visits('exited') == visit)
        check(heard(adapter) == last, f'{adapter} was heard {heard(adapter) - last} times more after the stop')
    check(len(store.subscriber.events('entered', 'floor')) == 2, 'nobody but this device entered')
    receiver = store.receiver()
    check(receiver['advertisements'] == receiver['sightings'], f'nothing but the beacon was heard: {receiver}')


SCENARIOS = {function.__name__.replace('_', '-'): function for function in [
    # The longest first, so that two at a time end together.
    bluetoothd_killed, unplugged, dbus_restart, rfkill, basic, strict_filter_no_monitor, strict_filter, strangers,
    linux_beacon, second_adapter, silent_stall, adapter_off, adapter_off_on, first_advertisement]}


def main():
    try:
        SCENARIOS[sys.argv[1]]()
        outcome = 'passed'
    except Failed as failure:
        outcome = f'FAILED: {failure}'
        traceback.print_exc()
    except Exception as error:  # a mistake of the scenario is a failure of the test, too
        outcome = f'FAILED: {error!r}'
        traceback.print_exc()
    for controller in Controller.plugged:
        controller.record()
    (RESULTS / 'outcome').write_text(outcome + '\n')
    print(outcome, flush=True)


if sys.argv[1] == '--list':
    print('\n'.join(SCENARIOS))
elif sys.argv[1] == '--site':
    write_store(Path(sys.argv[2]), [('hci0', 'r1')], MQTT_PORT)
else:
    RESULTS = Path(sys.argv[2])
    main()
