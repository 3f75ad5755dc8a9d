#!/usr/bin/python3
"""One case of the gateway against a mocked bluetoothd, on a private bus.

usage: cases.py CASE RESULTS     (--list prints the cases)

Writes RESULTS/outcome: `passed`, or `FAILED: why`. Every case is a function below; its docstring is what must hold.
"""
import os
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'vm'))
from common import (BADGE, CART, INSTANCE, NAMESPACE, REGISTERED, STRANGER, STRANGER_UUID, UUID, Broker, Failed, Gateway,  # noqa: E402
                    Subscriber, check, check_unmentioned, eddystone_uid_body, end, ibeacon_body, wait, write_store)

EDDYSTONE = '0000feaa-0000-1000-8000-00805f9b34fb'
PROCESSES = []


class World:
    """A private bus with a mocked bluetoothd, a broker on a free port, and the gateway between them."""

    def __init__(self, adapters=('hci0',), bus=True):
        import dbus     # not at the top: --list must work before the packages are installed
        self.dbus = dbus
        self.address = f'unix:path={RESULTS}/bus.sock'
        if bus:
            self.start_bus(adapters)
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            port = probe.getsockname()[1]
        broker = Broker(RESULTS, port)
        self.subscriber = Subscriber(RESULTS, port)
        config = write_store(RESULTS / 'gateway', [('hci0', 'r1')], port)
        self.gateway = Gateway(RESULTS, config, {'DBUS_SYSTEM_BUS_ADDRESS': self.address})
        PROCESSES.extend([self.gateway.process, self.subscriber.process, broker.process])
        wait('the gateway publishes its status', 20, lambda: self.gateway.check_alive() or self.subscriber.status())
        check(self.subscriber.status()['state'] == 'online', f'status: {self.subscriber.status()}')

    def start_bus(self, adapters):
        (RESULTS / 'bus.conf').write_text((HERE / 'bus.conf').read_text().replace('@SOCKET@', f'{RESULTS}/bus.sock'))
        log = open(RESULTS / 'mock.log', 'a')
        PROCESSES.append(subprocess.Popen(['dbus-daemon', f'--config-file={RESULTS}/bus.conf', '--nofork', '--nopidfile'],
                                          stdout=log, stderr=log))
        wait('the private bus is there', 10, lambda: (RESULTS / 'bus.sock').exists())
        PROCESSES.append(subprocess.Popen(['/usr/bin/python3', '-B', '-m', 'dbusmock', '--system', '--template', str(HERE / 'bluez_adverts.py')],
                                          stdout=log, stderr=log, env={**os.environ, 'DBUS_SYSTEM_BUS_ADDRESS': self.address}))
        self.bus = self.dbus.bus.BusConnection(self.address)
        wait('the mock owns org.bluez', 10, lambda: self.bus.name_has_owner('org.bluez'))
        self.mock = self.dbus.Interface(self.bus.get_object('org.bluez', '/', introspect=False), 'org.bluez.Mock')
        for adapter in adapters:
            self.mock.AddAdapter(adapter, 'mock', signature='ss')

    def wait_scan(self, adapter='hci0', seconds=30):
        """The gateway scans: the receiver is up, and discovery was asked for."""
        def probe():
            self.gateway.check_alive()
            if self.receiver().get('state') != 'up':
                return False
            properties = self.dbus.Interface(self.bus.get_object('org.bluez', f'/org/bluez/{adapter}', introspect=False),
                                             'org.freedesktop.DBus.Properties')
            return properties.Get('org.bluez.Adapter1', 'Discovering')
        wait(f'the receiver comes up on {adapter}', seconds, probe)
        return self

    def hear(self, address, **properties):
        self.mock.Hear('hci0', address, self.dbus.Dictionary(properties, signature='sv'), signature='ssa{sv}')

    def manufacturer_data(self, data, company=0x4c):
        return self.dbus.Dictionary({self.dbus.UInt16(company): self.dbus.Array(data, signature='y', variant_level=1)},
                                    signature='qv', variant_level=1)

    def service_data(self, data, uuid=EDDYSTONE):
        return self.dbus.Dictionary({uuid: self.dbus.Array(data, signature='y', variant_level=1)}, signature='sv', variant_level=1)

    def rssi(self, value):
        return self.dbus.Int16(value, variant_level=1)

    def hear_cart(self, rssi=-52):
        self.hear(CART.address, RSSI=self.rssi(rssi), ManufacturerData=self.manufacturer_data(ibeacon_body(UUID, 1, 2)))

    def hear_badge(self, rssi=-52):
        self.hear(BADGE.address, RSSI=self.rssi(rssi), ServiceData=self.service_data(eddystone_uid_body(NAMESPACE, INSTANCE)))

    def receiver(self):
        return self.subscriber.receiver('r1')

    def sightings(self):
        self.gateway.check_alive()
        return self.receiver().get('sightings', 0)

    def wait_sightings(self, count, why):
        """Exactly `count` sightings: reached, and not passed by the next status."""
        try:
            wait(why, 10, lambda: self.sightings() >= count)
        except Failed as error:
            raise Failed(f'{error}; the receiver says {self.receiver()}, expected {count} sightings') from None
        reached = time.monotonic()
        wait('one more status', 10, lambda: self.subscriber.status()['received'] > reached)
        check(self.sightings() == count, f'{why}: {self.sightings()} sightings, expected {count}')

    def wait_down(self, why):
        receiver = wait(why, 15, lambda: self.gateway.check_alive() or (
            self.receiver() if self.receiver().get('state') not in ('up', None) else None))
        wait(f'{why}, with a reason', 5, lambda: self.receiver().get('reason'))
        return receiver


def heard():
    """An iBeacon and an Eddystone-UID enter the floor; a stranger's is counted and named nowhere; SIGTERM ends it."""
    world = World().wait_scan()
    limit = time.monotonic() + 25
    while not all(world.subscriber.events('entered', 'floor', b.device) for b in REGISTERED):
        world.gateway.check_alive()
        check(time.monotonic() < limit, f'no entered of both: {[e["subject"] for e in world.subscriber.events()]}')
        world.hear_cart()
        world.hear_badge()
        world.hear(STRANGER.address, RSSI=world.rssi(-50), ManufacturerData=world.manufacturer_data(ibeacon_body(STRANGER_UUID, 7, 8)))
        time.sleep(0.2)
    wait('strangers are counted', 5, lambda: world.receiver()['advertisements'] > world.sightings() > 0)
    check(end(world.gateway.process, 10) == 0, 'exit code after SIGTERM')
    wait('status offline', 5, lambda: world.subscriber.status()['state'] == 'offline')
    check_unmentioned(STRANGER, world.subscriber, world.gateway)


def first_advertisement():
    """Of a device that shows only once, as a new object, the one advertisement is a sighting."""
    world = World().wait_scan()
    world.hear_cart()
    world.wait_sightings(1, 'the only advertisement of an iBeacon')
    world.hear_badge()
    world.wait_sightings(2, 'the only advertisement of an Eddystone-UID')
    for b in REGISTERED:
        wait(f'{b.device} entered the site', 5, lambda: world.subscriber.events('entered', 'site', b.device))


def joined():
    """RSSI and data of one advertisement come as two events, and are one sighting: 20 of each beacon make 40."""
    world = World().wait_scan()
    for i in range(20):
        world.hear_cart(-50 - i)
        world.hear_badge(-50)    # constant: bluetoothd repeats equal values, too
        time.sleep(0.1)
    world.wait_sightings(40, '20 advertisements of two beacons')


def rssi_only():
    """A change of RSSI alone is a sighting of the beacon whose data came before."""
    world = World().wait_scan()
    world.hear_cart()
    for i in range(10):
        time.sleep(0.1)
        world.hear(CART.address, RSSI=world.rssi(-50 - i))
    world.wait_sightings(11, '10 changes of RSSI alone after one whole advertisement')


def expired():
    """bluetoothd drops the device object and makes it anew: every time the first advertisement counts."""
    world = World().wait_scan()
    for i in range(1, 4):
        world.hear_cart()
        world.wait_sightings(i, f'appearance {i}')
        world.mock.Expire('hci0', CART.address, signature='ss')


def odd_properties():
    """Missing and mistyped properties are no reason to stop."""
    world = World().wait_scan()
    D = world.dbus
    odd = [
        {},                                                                                         # nothing at all
        {'ManufacturerData': world.manufacturer_data(ibeacon_body(UUID, 1, 2))},                    # no RSSI
        {'RSSI': world.rssi(-50)},                                                                  # no data
        {'RSSI': world.rssi(-50), 'ManufacturerData': D.Dictionary({}, signature='qv', variant_level=1)},
        {'RSSI': world.rssi(-50), 'ManufacturerData': world.manufacturer_data(b'')},
        {'RSSI': world.rssi(-50), 'ManufacturerData': world.manufacturer_data(ibeacon_body(UUID, 1, 2)[:9])},
        {'RSSI': world.rssi(-50), 'ServiceData': world.service_data(b'')},
        {'RSSI': world.rssi(-50), 'ServiceData': world.service_data(b'\x00\x01')},
        {'RSSI': world.rssi(-50), 'ServiceData': world.service_data(bytes(20), 'not-a-uuid')},
        {'RSSI': D.String('loud', variant_level=1), 'ManufacturerData': world.manufacturer_data(ibeacon_body(UUID, 1, 2))},
        {'RSSI': D.Int32(-50, variant_level=1), 'ManufacturerData': D.String('many', variant_level=1)},
        {'RSSI': world.rssi(127), 'TxPower': D.String('?', variant_level=1), 'Name': D.String('\u202e\n\x07', variant_level=1)},
        {'RSSI': world.rssi(-32768), 'UUIDs': D.String('none', variant_level=1), 'AddressType': D.UInt16(7, variant_level=1)},
    ]
    for i, properties in enumerate(odd):
        for _ in range(3):      # as a new object, then as changes
            world.hear(f'C0:0D:D0:00:00:{i:02X}', **properties)
        time.sleep(0.1)
        world.gateway.check_alive()
    base = world.sightings()
    wait('a good beacon is still heard', 15, lambda: world.hear_cart() or world.sightings() >= base + 5, every=0.2)
    check(world.receiver()['state'] == 'up', f'the receiver stays up: {world.receiver()}')


def no_adapter():
    """Without any adapter the gateway keeps running and says what is missing."""
    world = World(adapters=())
    world.wait_down('the receiver is down')
    time.sleep(6)
    world.wait_down('the receiver is still down')


def adapter_later():
    """The adapter is plugged in after the start."""
    world = World(adapters=())
    world.wait_down('the receiver is down')
    world.mock.AddAdapter('hci0', 'mock', signature='ss')
    world.wait_scan()
    world.hear_cart()
    world.wait_sightings(1, 'the first advertisement')


def adapter_removed():
    """The adapter goes and comes back: down in between, then heard again."""
    world = World().wait_scan()
    world.hear_cart()
    world.wait_sightings(1, 'before')
    world.mock.RemoveAdapterWithDevices('hci0', signature='s')
    world.wait_down('the receiver is down without its adapter')
    world.mock.AddAdapter('hci0', 'mock', signature='ss')
    world.wait_scan()
    world.hear_cart()
    world.wait_sightings(2, 'after')


def monitor_never_activated():
    """bluetoothd takes the advertisement monitor and never activates it: the gateway scans nevertheless."""
    world = World(adapters=())
    world.mock.AddAdapter('hci0', 'mock', signature='ss')
    world.mock.OfferMonitors('hci0', signature='s')
    world.wait_scan()
    world.hear_cart()
    world.wait_sightings(1, 'the first advertisement')


def no_bus():
    """No system bus at all: the gateway keeps running, says so, and hears once there is one."""
    world = World(bus=False)
    world.wait_down('the receiver is down')
    time.sleep(4)
    world.gateway.check_alive()
    world.start_bus(['hci0'])
    world.wait_scan(seconds=40)
    world.hear_cart()
    world.wait_sightings(1, 'the first advertisement')


CASES = {function.__name__.replace('_', '-'): function for function in [
    heard, first_advertisement, joined, rssi_only, expired, odd_properties, no_adapter, adapter_later, adapter_removed,
    monitor_never_activated, no_bus]}


def main():
    try:
        CASES[sys.argv[1]]()
        outcome = 'passed'
    except Failed as failure:
        outcome = f'FAILED: {failure}'
        traceback.print_exc()
    except Exception as error:  # a mistake of the case is a failure of the test, too
        outcome = f'FAILED: {error!r}'
        traceback.print_exc()
    for process in reversed(PROCESSES):
        end(process)
    (RESULTS / 'outcome').write_text(outcome + '\n')


if sys.argv[1] == '--list':
    print('\n'.join(CASES))
else:
    RESULTS = Path(sys.argv[2])
    main()
