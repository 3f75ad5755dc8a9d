#!/usr/bin/python3
"""One case of `beaconfence doctor`: a machine in good order, with one thing prepared to be wrong.

usage: cases.py CASE RESULTS     (--list prints the cases)

The machine: a private bus with a mocked bluetoothd that offers monitors and a mocked timedated whose clock is set; Mosquitto with TLS, accounts and
access rules; three receivers, one of them this gateway's. In good order, all checks are `ok`.

Writes RESULTS/outcome: `passed`, or `FAILED: why`. Every case is a function below; its docstring is what must hold.
"""
import json
import os
import socket
import socketserver
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / 'vm'))
from common import CART, GATEWAY, PREFIX, UUID, Failed, Gateway, check, end, ibeacon_body, wait, write_store  # noqa: E402

PROCESSES = []
USER, PASSWORD = 'gw', 'correct horse'
CHECKS = ['config', 'dbus', 'bluetoothd', 'adapter', 'monitors', 'hearing', 'broker', 'publish', 'subscribe', 'clock', 'disk', 'data-dir',
          'memory', 'http']
WRITES = ['events/#', 'triggers/#', 'replays/#', 'cards/#', 'presence/#', 'zones/#', 'beacons/#', f'gateways/{GATEWAY}/status']
READS = ['positions/+', 'devices/+/attributes', f'gateways/{GATEWAY}/replay']
# What a trial may say, and to whom: under an id that nobody can have.
TRIALS = {f'{PREFIX}/{topic}' for topic in ['events/_doctor/probe', 'triggers/_doctor/probe', 'replays/_doctor', 'cards/_doctor/probe',
                                            'presence/_doctor', 'zones/_doctor/occupancy', 'beacons/_doctor/health', f'gateways/{GATEWAY}/status']}


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return probe.getsockname()[1]


def spawn(command, log, environment=None):
    with open(RESULTS / log, 'a') as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})})
    PROCESSES.append(process)
    return process


class Machine:
    def __init__(self, rights=True, daemon=True, adapters=('hci0',), monitors=True, mqtt_version='5', writes=WRITES, data_dir='data', beacon=True):
        import dbus     # not at the top: --list must work before the packages are installed
        self.dbus = dbus
        self.beacon = beacon
        self.directory = RESULTS / 'gateway'
        self.environment = {'DBUS_SYSTEM_BUS_ADDRESS': f'unix:path={RESULTS}/bus.sock'}
        self.start_bus(rights, daemon, adapters, monitors)
        self.start_broker(writes)
        self.http = free_port()
        self.write_files(mqtt_version, data_dir)

    # ------------------------------------------------------------------------------------------------------------ the bus

    def start_bus(self, rights, daemon, adapters, monitors):
        text = (HERE.parent / 'mock/bus.conf').read_text().replace('@SOCKET@', f'{RESULTS}/bus.sock')
        if not rights:
            denied = '<policy context="mandatory"><deny send_destination="org.bluez"/></policy>\n</busconfig>'
            text = text.replace('</busconfig>', denied)
        (RESULTS / 'bus.conf').write_text(text)
        spawn(['dbus-daemon', f'--config-file={RESULTS}/bus.conf', '--nofork', '--nopidfile'], 'mock.log')
        wait('the private bus is there', 10, lambda: (RESULTS / 'bus.sock').exists())
        mock = ['/usr/bin/python3', '-B', '-m', 'dbusmock', '--system', '--template']
        if daemon:
            spawn([*mock, str(HERE / 'bluez_monitors.py')], 'mock.log', self.environment)
        spawn([*mock, 'timedated'], 'mock.log', self.environment)
        self.bus = self.dbus.bus.BusConnection(self.environment['DBUS_SYSTEM_BUS_ADDRESS'])
        for name in ['org.bluez'] * daemon + ['org.freedesktop.timedate1']:
            wait(f'the mock owns {name}', 10, lambda: self.bus.name_has_owner(name))
        if not rights or not daemon:
            return
        self.mock = self.dbus.Interface(self.bus.get_object('org.bluez', '/', introspect=False), 'org.bluez.Mock')
        for adapter in adapters:
            self.mock.AddAdapter(adapter, 'mock', signature='ss')
            if monitors:
                self.mock.AddMonitors(adapter, signature='s')

    def properties(self, name, path):
        return self.dbus.Interface(self.bus.get_object(name, path, introspect=False), 'org.freedesktop.DBus.Properties')

    def discovering(self):
        return bool(self.properties('org.bluez', '/org/bluez/hci0').Get('org.bluez.Adapter1', 'Discovering'))

    def clock_is_not_set(self):
        self.properties('org.freedesktop.timedate1', '/org/freedesktop/timedate1').Set(
            'org.freedesktop.timedate1', 'NTPSynchronized', self.dbus.Boolean(False, variant_level=1))

    def hear(self, number):
        body = self.dbus.Dictionary({self.dbus.UInt16(0x4c): self.dbus.Array(ibeacon_body(UUID, 1, 2), signature='y', variant_level=1)},
                                    signature='qv', variant_level=1)
        self.mock.Hear('hci0', CART.address, self.dbus.Dictionary(
            {'RSSI': self.dbus.Int16(-50 - number % 5, variant_level=1), 'ManufacturerData': body}, signature='sv'), signature='ssa{sv}')

    # --------------------------------------------------------------------------------------------------------- the broker

    def start_broker(self, writes):
        self.tls = RESULTS / 'tls'
        self.tls.mkdir()
        for ca in 'ca', 'other-ca':
            self.openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', f'/CN={ca}', '-keyout', f'{ca}.key', '-out', f'{ca}.pem')
        self.openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', '/CN=localhost', '-keyout', 'broker.key', '-out', 'broker.csr')
        (self.tls / 'names').write_text('subjectAltName=DNS:localhost,IP:127.0.0.1\n')
        self.openssl('x509', '-req', '-in', 'broker.csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-CAcreateserial', '-days', '2', '-extfile', 'names',
                     '-out', 'broker.pem')
        self.port = free_port()
        for create, user in (['-c'], USER), ([], 'watcher'):
            subprocess.run(['mosquitto_passwd', *create, '-b', str(self.tls / 'passwords'), user, PASSWORD], check=True)
        rules = [f'user {USER}', *(f'topic write {PREFIX}/{topic}' for topic in writes), *(f'topic read {PREFIX}/{topic}' for topic in READS),
                 'user watcher', 'topic read #']
        (self.tls / 'rules').write_text('\n'.join(rules) + '\n')
        (RESULTS / 'mosquitto.conf').write_text(
            f'listener {self.port} 127.0.0.1\ncafile {self.tls}/ca.pem\ncertfile {self.tls}/broker.pem\nkeyfile {self.tls}/broker.key\n'
            f'password_file {self.tls}/passwords\nacl_file {self.tls}/rules\nallow_anonymous false\npersistence false\nuser root\n')
        broker = spawn(['/usr/sbin/mosquitto', '-v', '-c', str(RESULTS / 'mosquitto.conf')], 'mosquitto.log')
        log = RESULTS / 'mosquitto.log'
        wait('the broker listens', 10, lambda: broker.poll() is not None or 'Opening ipv4' in log.read_text())
        check(broker.poll() is None, f'mosquitto ended: {log.read_text()[-300:]}')
        self.subscriber = ['mosquitto_sub', '-h', '127.0.0.1', '-p', str(self.port), '--cafile', str(self.tls / 'ca.pem'), '-u', 'watcher', '-P',
                           PASSWORD, '-V', 'mqttv5', '-q', '1', '-t', '#', '-F', r'%r %t %p']

    def openssl(self, *arguments):
        done = subprocess.run(['openssl', *arguments], cwd=self.tls, capture_output=True, text=True)
        check(done.returncode == 0, f'openssl {arguments[0]}: {done.stderr}')

    def watch(self):
        """Everything that is said at the broker from now on, in a file."""
        process = spawn([*self.subscriber, '-i', 'watcher'], 'said.txt')
        wait('the watcher has subscribed', 10, lambda: 'Sending SUBACK to watcher' in (RESULTS / 'mosquitto.log').read_text())
        return process

    def said(self):
        return [line.split(' ', 2)[1:] for line in (RESULTS / 'said.txt').read_text().splitlines()]

    def retained(self):
        done = subprocess.run([*self.subscriber, '--retained-only', '-W', '2'], capture_output=True, text=True)
        return [line.split(' ')[1] for line in done.stdout.splitlines()]

    # ---------------------------------------------------------------------------------------------------------- the files

    def write_files(self, mqtt_version, data_dir):
        self.config = write_store(self.directory, [('hci0', 'r1')], self.port)
        password = self.directory / 'mqtt-password'
        password.write_text(PASSWORD + '\n')
        password.chmod(0o600)
        self.config.write_text(
            f'id = "{GATEWAY}"\nsite = "site"\ndata_dir = "{data_dir}"\n\n[[adapter]]\nname = "hci0"\nreceiver = "r1"\n\n'
            f'[mqtt]\nbrokers = ["mqtts://localhost:{self.port}"]\nversion = "{mqtt_version}"\nusername = "{USER}"\npassword_file = "mqtt-password"\n'
            f'ca_file = "{self.tls}/ca.pem"\nstatus_interval = "2s"\n\n'
            # What may be kept fits on any machine that the tests run on.
            f'[outbox]\nmax_megabytes = 100\nkeep_megabytes = 10\n\n[http]\nlisten = ["127.0.0.1:{self.http}"]\n')
        # A level has three receivers, or `check` has something to say.
        with open(self.directory / 'site/site.toml', 'a') as site:
            for receiver, x, y in ('r2', 10, 5), ('r3', -10, 8):
                site.write(f'\n[[receiver]]\nid = "{receiver}"\nx = {x}.0\ny = {y}.0\nz = 2.5\nlevel = 0\n')

    # --------------------------------------------------------------------------------------------------------- the doctor

    def doctor(self, *arguments, before=()):
        """Runs it, with a beacon near; the exit code and what it printed."""
        command = [*before, os.environ['BEACONFENCE_BIN'], 'doctor', '--config', str(self.config), *arguments]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   env={**os.environ, **self.environment})
        PROCESSES.append(process)
        number, limit = 0, time.monotonic() + 60
        while process.poll() is None:
            check(time.monotonic() < limit, 'doctor does not end')
            if self.beacon and self.discovering():
                self.hear(number)
                number += 1
            time.sleep(0.05)
        out, err = process.communicate()
        check('panic' not in err, err)
        return process.returncode, out

    def report(self, *arguments, before=()):
        code, out = self.doctor('--json', '--listen', '3s', *arguments, before=before)
        (RESULTS / 'doctor.json').write_text(out)
        report = json.loads(out)
        check(report['schema_version'] == 1 and report['version'], f'the form: {report}')
        counts = {outcome: sum(f['outcome'] == outcome for f in report['findings']) for outcome in ('ok', 'warning', 'failed', 'not_tried')}
        check(report['summary'] == counts, f'the summary {report["summary"]} is not {counts}')
        check(report['ok'] == (counts['failed'] == 0) and code == (0 if report['ok'] else 1), f'exit code {code} with {counts}')
        for finding in report['findings']:
            check(finding['check'] in CHECKS, f'an unknown check: {finding}')
            check((finding['outcome'] == 'ok') == ('cause' not in finding), f'a cause is there unless all is well: {finding}')
            check((finding['outcome'] in ('warning', 'failed')) <= ('remedy' in finding), f'no remedy: {finding}')
        check([c for c in CHECKS if c not in {f['check'] for f in report['findings']}] == [] or arguments, 'a check is missing')
        return report

    def expect(self, name, cause, message, remedy, outcome='failed', not_tried=(), before=()):
        """Exactly that is wrong, the rest is well or could not be tried because of it; people are told the same."""
        report = self.report(before=before)
        trouble = [f for f in report['findings'] if f['outcome'] in ('warning', 'failed')]
        check(len(trouble) == 1, f'one fault was prepared, and found was: {json.dumps(trouble, indent=1)}')
        finding = trouble[0]
        check((finding['check'], finding['cause'], finding['outcome']) == (name, cause, outcome), f'another finding: {finding}')
        check(message in finding['message'], f'"{message}" is not in "{finding["message"]}"')
        told = ' '.join(finding['remedy'].values())
        check(remedy in told, f'"{remedy}" is not in "{told}"')
        found = {f['check'] for f in report['findings'] if f['outcome'] == 'not_tried'}
        check(found == set(not_tried), f'not tried: {sorted(found)}, expected {sorted(not_tried)}')
        code, text = self.doctor('--listen', '0s', '--only', name, before=before)
        (RESULTS / 'doctor.txt').write_text(text)
        check(code == (1 if outcome == 'failed' else 0), f'exit code {code}')
        word = 'FAILED' if outcome == 'failed' else 'warning'
        line = next((line for line in text.splitlines() if line.startswith(word)), None)
        check(line and name in line and finding['message'] in line and finding['remedy']['words'] in line, f'people are told: {text}')
        return finding


# ------------------------------------------------------------------------------------------------------------- the cases

def healthy():
    """All is ok; what was said on trial is nobody's, and nothing of it stays; the scan has ended; no file is left."""
    machine = Machine()
    watcher = machine.watch()
    report = machine.report()
    wrong = [f for f in report['findings'] if f['outcome'] != 'ok']
    check(not wrong, f'not ok: {json.dumps(wrong, indent=1)}')
    heard = next(f for f in report['findings'] if f['check'] == 'hearing')['facts']
    adapter = next(f for f in report['findings'] if f['check'] == 'adapter')['facts']
    expected = {'adapter': 'hci0', 'address': '00:01:02:03:04:05', 'powered': True, 'roles': ['central', 'peripheral']}
    check(adapter == expected, f'the adapter: {adapter}')
    check(heard['devices'] == 1 and heard['per_second'] > 2, f'a beacon sends ten times a second: {heard}')
    topics = {t['topic']: t['answer'] for f in report['findings'] if f['check'] in ('publish', 'subscribe') for t in f['facts']['topics']}
    check(topics == {f'{PREFIX}/{topic}': 'allowed' for topic in WRITES + READS}, f'topics: {topics}')
    wait('the trials reached the watcher', 5, lambda: {topic for topic, _ in machine.said()} >= TRIALS)
    end(watcher)
    for topic, payload in machine.said():
        check(topic in TRIALS, f'said on {topic}: {payload}')
        check(not payload or json.loads(payload)['type'] == 'io.beaconfence.doctor.probe', f'said on {topic}: {payload}')
    check(machine.retained() == [], f'left behind: {machine.retained()}')
    check(not machine.discovering(), 'the scan goes on after the end')
    left = sorted(path.name for path in machine.directory.iterdir())
    check(left == ['gateway.toml', 'mqtt-password', 'site'], f'files: {left}')


def no_adapter():
    """The adapter of gateway.toml is not there."""
    Machine(adapters=(), beacon=False).expect('adapter', 'no-adapter', 'no Bluetooth adapter hci0: the system has none', 'dmesg',
                                              not_tried=['monitors', 'hearing'])


def powered_off():
    """The adapter is powered off, and is not powered on by looking at it."""
    machine = Machine()
    machine.mock.SetPowered('hci0', False, signature='sb')
    machine.expect('adapter', 'powered-off', 'is powered off', 'bluetoothctl power on', not_tried=['hearing'])
    check(not machine.properties('org.bluez', '/org/bluez/hci0').Get('org.bluez.Adapter1', 'Powered'), 'it was powered on')


def no_rights():
    """The bus denies org.bluez to this user."""
    import getpass
    machine = Machine(rights=False, beacon=False)
    machine.expect('dbus', 'no-rights', 'talk to bluetoothd (org.bluez)', f'usermod -aG bluetooth {getpass.getuser()}',
                   not_tried=['bluetoothd', 'adapter', 'monitors', 'hearing'])


def no_daemon():
    """Nobody offers Bluetooth on the bus."""
    machine = Machine(daemon=False, beacon=False)
    machine.expect('bluetoothd', 'not-running', 'installed', 'blue', not_tried=['adapter', 'monitors', 'hearing'])


def no_monitors():
    """bluetoothd without -E: a warning that says what is lost."""
    Machine(monitors=False).expect('monitors', 'no-monitors', 'heard about once a second', 'bluetoothd -E', outcome='warning')


def wrong_password():
    """The broker has another password for this user."""
    machine = Machine()
    (machine.directory / 'mqtt-password').write_text('wrong\n')
    machine.expect('broker', 'bad-password', 'does not let "gw" in: the password', str(machine.directory / 'mqtt-password'),
                   not_tried=['publish', 'subscribe'])


def bad_ca():
    """ca_file names an authority that did not sign the broker's certificate."""
    machine = Machine()
    machine.config.write_text(machine.config.read_text().replace('/ca.pem', '/other-ca.pem'))
    machine.expect('broker', 'untrusted-certificate', 'none of the authorities in', 'ca_file', not_tried=['publish', 'subscribe'])


def clock_off():
    """The system waits for its clock to be set."""
    machine = Machine()
    machine.clock_is_not_set()
    machine.expect('clock', 'clock-not-synchronised', 'no time server has answered', 'UDP port 123')


def disk_full():
    """The disk of the data directory is full: a small tmpfs and a file that takes all of it."""
    disk = RESULTS / 'disk'
    disk.mkdir()
    machine = Machine(data_dir=f'{disk}/data')
    # In a mount namespace of its own, so that the machine has nothing to unmount.
    script = (f'mount -t tmpfs -o size=20m,mode=0700 tmpfs {disk} && mkdir -m 700 {disk}/data && '
              f'{{ dd if=/dev/zero of={disk}/filler bs=4k 2>/dev/null || true; }} && exec "$@"')
    root = [] if os.geteuid() == 0 else ['sudo', '-n', '--preserve-env']
    before = [*root, 'unshare', '--mount', 'sh', '-c', script, 'sh']
    machine.expect('disk', 'disk-full', f'the disk of {disk}/data is full: 0 B free', 'Make room', not_tried=['data-dir'], before=before)


def port_taken():
    """Another program listens where the API should; it is named."""
    machine = Machine()
    with socket.socket() as other:
        other.bind(('127.0.0.1', machine.http))
        other.listen()
        machine.expect('http', 'port-taken', f'another program, python3 (process {os.getpid()})', 'listen in [http]')


def bad_zone():
    """A zone that cannot be: the file, the line and the zone are named."""
    machine = Machine()
    zones = machine.directory / 'site/zones.geojson'
    zones.write_text(zones.read_text().replace('"level": 0', '"level": 7').replace('{"type": "Feature"', '\n{"type": "Feature"', 1))
    finding = machine.expect('config', 'fault', 'zone "floor"', 'level', not_tried=['publish', 'subscribe'])
    check(finding['subject'] == f'{zones}:2' and finding['facts'] == {'file': str(zones), 'line': 2}, f'the place: {finding}')


def refused_topics():
    """The access rules lack two topics, one of them that of the status: both are named, with the rules that allow them."""
    allowed = [topic for topic in WRITES if topic not in ('presence/#', f'gateways/{GATEWAY}/status')]
    machine = Machine(writes=allowed)
    finding = machine.expect('publish', 'refused', f'below {PREFIX}/ to presence/#, gateways/{GATEWAY}/status (not',
                             f'topic write {PREFIX}/presence/#\ntopic write {PREFIX}/gateways/{GATEWAY}/status')
    refused = [topic['topic'] for topic in finding['facts']['topics'] if topic['answer'] != 'allowed']
    check(refused == [f'{PREFIX}/presence/#', f'{PREFIX}/gateways/{GATEWAY}/status'], f'refused: {refused}')


def rights_in_3_1_1():
    """A gateway of MQTT 3.1.1 has its rights looked at in version 5, which has a word for a refusal."""
    machine = Machine(mqtt_version='3.1.1', writes=[topic for topic in WRITES if topic != 'cards/#'])
    machine.expect('publish', 'refused', f'publish below {PREFIX}/ to cards/# (', f'topic write {PREFIX}/cards/#')


class OldBroker(socketserver.StreamRequestHandler):
    """As much of a broker of MQTT 3.1.1 as is asked of it here. It refuses a publication by ending the connection."""
    refuses = True

    def handle(self):
        while head := self.rfile.read(1):
            length, shift = 0, 0
            while True:
                byte = self.rfile.read(1)[0]
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            body = self.rfile.read(length)
            kind = head[0] >> 4
            if kind == 1:
                self.wfile.write(b'\x20\x02\x00' + (b'\x00' if body[6] == 4 else b'\x01'))
                if body[6] != 4:
                    return
            elif kind == 3:
                end_of_topic = 2 + int.from_bytes(body[:2], 'big')
                if self.refuses and b'/cards/' in body[2:end_of_topic]:
                    return
                self.wfile.write(b'\x40\x02' + body[end_of_topic:end_of_topic + 2])
            elif kind == 8:
                self.wfile.write(b'\x90\x03' + body[:2] + (b'\x80' if self.refuses and b'/attributes' in body else b'\x01'))
            elif kind == 14:
                return


def broker_of_3_1_1():
    """A broker that only speaks MQTT 3.1.1: what ends the connection is refused; where all is acknowledged, nothing can be told."""
    machine = Machine(mqtt_version='3.1.1')
    with socketserver.ThreadingTCPServer(('127.0.0.1', 0), OldBroker) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        machine.config.write_text(machine.config.read_text().replace(f'mqtts://localhost:{machine.port}', f'mqtt://127.0.0.1:{server.server_address[1]}'))
        look = lambda: {f['check']: f for f in machine.report('--only', 'broker', 'publish', 'subscribe')['findings']}
        found = look()
        check(found['broker']['outcome'] == 'ok', f'{found["broker"]}')
        check(found['publish']['cause'] == 'refused' and 'to cards/# (it ends the connection)' in found['publish']['message'], f'{found["publish"]}')
        check(found['subscribe']['cause'] == 'refused' and 'to devices/+/attributes (' in found['subscribe']['message'], f'{found["subscribe"]}')
        OldBroker.refuses = False
        found = look()
        check((found['publish']['outcome'], found['publish']['cause']) == ('not_tried', 'cannot-tell'), f'{found["publish"]}')
        check(found['subscribe']['outcome'] == 'ok', f'{found["subscribe"]}')


def beside_a_gateway():
    """A gateway that runs is recognised, asked for what it hears, and not disturbed."""
    machine = Machine()
    gateway = Gateway(RESULTS, machine.config, machine.environment)
    PROCESSES.append(gateway.process)
    log = lambda: gateway.check_alive() or gateway.log.read_text()
    wait('the gateway scans', 30, lambda: 'the radio is scanning' in log() and machine.discovering())
    wait('the gateway is connected and runs', 30, lambda: 'connected' in log() and 'running' in log())
    report = machine.report()
    wrong = [f for f in report['findings'] if f['outcome'] != 'ok']
    check(not wrong, f'not ok: {json.dumps(wrong, indent=1)}')
    by_name = {f['check']: f for f in report['findings']}
    check(f'(process {gateway.process.pid})' in by_name['http']['message'], f'http: {by_name["http"]}')
    check('the gateway that runs says so' in by_name['hearing']['message'], f'hearing: {by_name["hearing"]}')
    check(machine.discovering(), 'the scan of the gateway was ended')
    log_now = log()
    check('another client' not in log_now and 'does not hear' not in log_now.split('the radio is scanning')[-1], 'the gateway was disturbed')
    left = [topic for topic in machine.retained() if '_doctor' in topic]
    check(left == [], f'left behind: {left}')
    check(end(gateway.process, 10) == 0, 'exit code after SIGTERM')


def at_start():
    """`run` says at its start what the doctor would, as a warning with the remedy, and starts nevertheless."""
    machine = Machine()
    machine.clock_is_not_set()
    gateway = Gateway(RESULTS, machine.config, machine.environment)
    PROCESSES.append(gateway.process)
    log = lambda: gateway.check_alive() or gateway.log.read_text()
    wait('the warning is in the log', 30, lambda: 'no time server has answered' in log())
    lines = log().splitlines()
    at = next(i for i, line in enumerate(lines) if 'no time server has answered' in line)
    check('WARN' in lines[at] and 'timedatectl timesync-status' in lines[at] and 'UDP port 123' in lines[at], f'the line: {lines[at]}')
    check(any('running' in line for line in lines[:at]), 'the gateway runs before it is looked at')
    doctors = [line for line in lines if 'beaconfence::doctor' in line]
    check(len(doctors) == 1, f'one fault was prepared, and the log has: {doctors}')
    check(end(gateway.process, 10) == 0, 'exit code after SIGTERM')

CASES = {function.__name__.replace('_', '-'): function for function in [
    healthy, no_adapter, powered_off, no_rights, no_daemon, no_monitors, wrong_password, bad_ca, clock_off, disk_full, port_taken, bad_zone,
    refused_topics, rights_in_3_1_1, broker_of_3_1_1, beside_a_gateway, at_start]}


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
