#!/usr/bin/python3
"""A virtual Bluetooth LE controller on /dev/vhci that hears what it is told to hear.

bumble's Controller answers the host's HCI commands; the advertisements are written as raw HCI LE Advertising Reports on
the host's side of it, so that address, address type, data and RSSI of every single report are free.

usage: vctl.py --socket PATH [--address F0:F1:F2:F3:F4:F5] [--strict-filter] [--sender legacy|extended]...

Each --sender plugs in one controller more. The first one hears whatever the host makes them send: by the advertising
commands of Bluetooth 4 (legacy), or by those of Bluetooth 5 (extended).

Each line written to the socket is a JSON object, answered by one line of JSON:

  {"do": "start", "name": "cart", "address": "C0:..", "data": "0201..", "rssi": -55, ...}   a beacon goes on the air
       optional: "address_type" (0 public, 1 random), "interval" (s), "swing" (dB, RSSI varies by this much), "count"
  {"do": "stop", "name": "cart"}                      off the air again; without a name all of them
  {"do": "once", "address": .., "data": .., ...}      a single advertisement, as soon as the host scans (waits 10 s)
  {"do": "crowd", "count": 3000, "rate": 300}         distinct strangers pass by, one advertisement each; answered at the end
  {"do": "stall", "scans": 3}                         scans, yet hears nothing until reset or the third scan start from now
  {"do": "stats"}                                     see Controller.stats

A name's counters outlive a stop, so that a stopped beacon can be counted exactly. What a sender sends is counted by the
name of its adapter, `hci1`; as unheard where its PDUs are not those of Bluetooth 4, since the first cannot hear them.
"""
import argparse
import asyncio
import json
import os
import random
import struct
import time

from bumble import hci
from bumble.controller import AdvertisingSet, Controller, LegacyAdvertiser
from bumble.link import LocalLink
from bumble.transport.common import StreamPacketSource

ADV_NONCONN_IND = 0x03
SLOT = 0.000625         # seconds: the unit of advertising intervals


class VirtualHci:
    """The kernel's side: /dev/vhci. Not bumble's own transport, which closes the device on the first refused write: the
    kernel refuses them while the adapter is down (rfkill ends no scan before it takes the adapter away)."""

    VENDOR_PACKET, PRIMARY_CONTROLLER = 0xff, 0x00

    def __init__(self):
        self.index = None
        self.source = StreamPacketSource()
        self.file = os.open('/dev/vhci', os.O_RDWR | os.O_NONBLOCK)
        os.write(self.file, bytes([self.VENDOR_PACKET, self.PRIMARY_CONTROLLER]))
        asyncio.get_running_loop().add_reader(self.file, self._read)

    def _read(self):
        packet = os.read(self.file, 4096)   # one packet a read
        if packet[0] == self.VENDOR_PACKET:
            self.index = int.from_bytes(packet[2:4], 'little')
            print(f'hci{self.index}', flush=True)
        else:
            self.source.parser.feed_data(packet)

    def on_packet(self, packet):
        """bumble's interface of a sink; False where the kernel takes nothing."""
        try:
            return os.write(self.file, packet) == len(packet)
        except OSError:
            return False


class LegacySender(LegacyAdvertiser):
    """bumble's sends connectable advertisements alone, and takes the interval for milliseconds."""

    def _on_timer_fired(self):
        self.controller.link.sent(self.controller, self.advertising_type, self.address, self.advertising_data)
        interval = max(self.advertising_interval_min * SLOT, 0.02)
        self.timer_handle = asyncio.get_running_loop().call_later(interval, self._on_timer_fired)


class SenderSet(AdvertisingSet):
    """Of Bluetooth 5. A legacy PDU is heard by everyone, the others only by who scans for them."""

    # By the properties of the set; those of Bluetooth 5 alone are not among them.
    PDU_TYPES = {0x13: 0x00, 0x12: 0x02, 0x10: ADV_NONCONN_IND}

    def start(self):
        self.stop()     # the host may enable it again
        super().start()

    def send_extended_advertising_data(self):
        properties = int(self.parameters.advertising_event_properties)
        self.controller.link.sent(self.controller, self.PDU_TYPES.get(properties), self.address, bytes(self.data))


class SenderSets(dict):
    """bumble makes an advertising set where it finds none."""

    def __init__(self, controller):
        super().__init__()
        self.controller = controller

    def __setitem__(self, handle, _):
        super().__setitem__(handle, SenderSet(self.controller, handle))


class Link(LocalLink):
    """Between the controllers: what is sent goes on the air of the one that listens."""

    air = None

    def sent(self, sender, pdu_type, address, data):
        self.air.advertise(sender.name, bytes(address), address.address_type, -50, data, pdu_type)


class Radio(Controller):
    """bumble's controller with what a real one does besides: a duplicate filter, and a reset that ends the scan."""

    def __init__(self, *args, strict_filter=False, extended=False, **kwargs):
        super().__init__(*args, **kwargs)
        self.reset_sender()
        self.strict_filter = strict_filter
        self.reported = set()        # (address, data) reported since the scan began: the strict filter's memory
        self.stalled_for_scans = 0   # hears nothing for so many more scan starts; 0 is healthy
        self.scan_log = []           # (monotonic time, kind, filter) of every scan enable command
        if extended:
            return
        # Legacy reports only: without extended advertising the kernel uses LE Set Scan Enable, as on most small machines.
        self.le_features &= ~(hci.LeFeatureMask.LE_EXTENDED_ADVERTISING | hci.LeFeatureMask.LE_PERIODIC_ADVERTISING)
        later = ('EXTENDED_SCAN', 'EXTENDED_ADV', 'EXTENDED_CREATE')
        self.supported_commands = {
            code for code in self.supported_commands
            if not any(word in hci.HCI_Command.command_name(code) for word in later)
        }

    def reset_sender(self):
        """Sends nothing any more. bumble's own reset does not end that."""
        self.le_legacy_advertiser.stop()
        self.le_legacy_advertiser = LegacySender(self)
        for advertising_set in self.advertising_sets.values():
            advertising_set.stop()
        self.advertising_sets = SenderSets(self)

    def on_hci_reset_command(self, command):
        self.reset_sender()
        self.le_scan_enable = self.filter_duplicates = False
        self.reported.clear()
        self.stalled_for_scans = 0
        return super().on_hci_reset_command(command)

    def on_hci_le_set_scan_enable_command(self, command):
        answer = super().on_hci_le_set_scan_enable_command(command)
        # Core specification Vol 4, Part E, 7.8.11: enabling the scan anew resets the filter, also when it was enabled.
        self.reported.clear()
        if self.le_scan_enable and self.stalled_for_scans:
            self.stalled_for_scans -= 1
        kind = ('active' if self.le_scan_type else 'passive') if self.le_scan_enable else 'off'
        self.scan_log.append((round(time.monotonic(), 2), kind, 'filtered' if self.filter_duplicates else 'unfiltered'))
        return answer


class Air:
    """What is on the air, and what became of it."""

    def __init__(self, radio, host):
        self.radio, self.host = radio, host
        self.counters, self.tasks = {}, {}

    def advertise(self, name, address, address_type, rssi, data, pdu_type=ADV_NONCONN_IND):
        count = self.counters.setdefault(name, {'on_air': 0, 'reported': 0, 'filtered': 0, 'unheard': 0})
        count['on_air'] += 1
        if not self.radio.le_scan_enable or self.radio.stalled_for_scans or pdu_type is None:
            count['unheard'] += 1
            return
        if self.radio.strict_filter and self.radio.filter_duplicates:
            if (address, data) in self.radio.reported:
                count['filtered'] += 1
                return
            self.radio.reported.add((address, data))
        report = (bytes([hci.HCI_LE_ADVERTISING_REPORT_EVENT, 1, pdu_type, address_type]) + address
                  + bytes([len(data)]) + data + struct.pack('b', rssi))
        event = bytes([hci.HCI_EVENT_PACKET, hci.HCI_LE_META_EVENT, len(report)]) + report
        count['reported' if self.host.on_packet(event) else 'unheard'] += 1

    async def beacon(self, name, address, data, rssi, address_type=1, interval=0.2, swing=0, count=None):
        address, data = bytes.fromhex(address.replace(':', ''))[::-1], bytes.fromhex(data)
        due, sent = time.monotonic(), 0
        while count is None or sent < count:
            self.advertise(name, address, address_type, rssi - (sent * 5 % (swing + 1)), data)
            sent += 1
            due += interval
            await asyncio.sleep(max(0, due - time.monotonic()))

    async def crowd(self, count, rate, rssi=-75):
        """Phones in pockets: a resolvable private address each, Apple's or another maker's data of random content."""
        dice, began = random.Random(1), time.monotonic()
        for i in range(count):
            address = bytearray(dice.randbytes(6))
            address[5] = address[5] & 0x3f | 0x40
            maker = b'\x4c\x00\x10\x05' if i % 2 else b'\x75\x00\x42\x04'
            body = maker + dice.randbytes(6)
            data = b'\x02\x01\x1a' + bytes([len(body) + 1, 0xff]) + body
            self.advertise('crowd', bytes(address), 1, rssi - dice.randrange(20), data)
            await asyncio.sleep(max(0, began + (i + 1) / rate - time.monotonic()))
        return {'seconds': round(time.monotonic() - began, 2)}

    def start(self, name, **kwargs):
        self.stop(name)
        self.tasks[name] = asyncio.create_task(self.beacon(name, **kwargs))

    def stop(self, name=None):
        for each in [name] if name else list(self.tasks):
            if task := self.tasks.pop(each, None):
                task.cancel()

    async def once(self, name='once', **kwargs):
        for _ in range(100):
            if self.radio.le_scan_enable:
                return await self.beacon(name, interval=0, count=1, **kwargs)
            await asyncio.sleep(0.1)
        raise TimeoutError('the host did not scan for 10 s')

    def stats(self):
        """on_air = reported + filtered (by the strict filter) + unheard (no scan, the adapter down, or the radio stalled)"""
        return {'adapter': f'hci{self.host.index}', 'scanning': self.radio.le_scan_enable, 'filter_duplicates': self.radio.filter_duplicates,
                'passive': self.radio.le_scan_type == 0, 'stalled_for_scans': self.radio.stalled_for_scans,
                'beacons': self.counters, 'scan_log': self.radio.scan_log}

    async def handle(self, reader, writer):
        while line := await reader.readline():
            try:
                request = json.loads(line)
                action = request.pop('do')
                if action == 'stall':
                    answer = self.radio.stalled_for_scans = request['scans']
                else:
                    answer = {'start': self.start, 'stop': self.stop, 'stats': self.stats,
                              'once': self.once, 'crowd': self.crowd}[action](**request)
                    if asyncio.iscoroutine(answer):
                        answer = await answer
                reply = {'ok': answer}
            except Exception as error:  # every mistake goes back to the one who made it
                reply = {'error': repr(error)}
            writer.write(json.dumps(reply).encode() + b'\n')
            await writer.drain()
        writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--socket', required=True)
    parser.add_argument('--address', default='F0:F1:F2:F3:F4:F5')
    parser.add_argument('--strict-filter', action='store_true')
    parser.add_argument('--sender', action='append', default=[], choices=['legacy', 'extended'])
    options = parser.parse_args()
    link = Link()
    kernel = VirtualHci()
    radio = Radio('vctl', host_source=kernel.source, host_sink=kernel, link=link, public_address=options.address,
                  strict_filter=options.strict_filter)
    link.air = Air(radio, kernel)
    for number, kind in enumerate(options.sender, start=1):
        host = VirtualHci()
        Radio(f'hci{number}', host_source=host.source, host_sink=host, link=link,
              public_address=f'F0:F1:F2:F3:F4:E{number}', extended=kind == 'extended')
    await asyncio.start_unix_server(link.air.handle, options.socket)
    await asyncio.Event().wait()   # unplugged by killing this process


asyncio.run(main())
