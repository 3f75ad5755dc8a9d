"""deploy/mosquitto with a real Mosquitto: TLS, accounts, each line of the access rules, and what a kill leaves."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

DEPLOY = Path(__file__).resolve().parents[2] / "deploy" / "mosquitto"
STORE, GATEWAY = "store-1", "gw-1"
ROOT = "beaconfence/v1/store-1/"
USERS = [GATEWAY, "dispatcher", "backend", "archive", "phone-1", "stranger"]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(what, probe, seconds=10):
    limit = time.monotonic() + seconds
    while not probe():
        if time.monotonic() > limit:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.05)


class Broker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = Path(tempfile.mkdtemp(prefix="beaconfence-broker."))
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        cls.port = free_port()
        subprocess.run(
            [DEPLOY / "make-certificates", cls.dir / "certs", "localhost", "127.0.0.1"], check=True, capture_output=True
        )
        passwords = cls.dir / "passwords"
        passwords.touch()
        for user in USERS:
            subprocess.run(
                ["mosquitto_passwd", "-b", passwords, user, f"secret of {user}"], check=True, capture_output=True
            )
        rules = (DEPLOY / "acl").read_text().replace("STORE", STORE).replace("GATEWAY", GATEWAY)
        (cls.dir / "acl").write_text(rules)
        # The files as they are, but for their places and the port; started by root it would become another user.
        settings = (DEPLOY / "mosquitto.conf").read_text() + (DEPLOY / "persistence.conf").read_text()
        for there, here in (("/etc/mosquitto/", f"{cls.dir}/"), ("/var/lib/mosquitto/", f"{cls.dir}/data/")):
            assert there in settings
            settings = settings.replace(there, here)
        settings, count = re.subn(r"^listener 8883$", f"listener {cls.port} 127.0.0.1", settings, flags=re.M)
        assert count == 1
        (cls.dir / "data").mkdir()
        (cls.dir / "broker.conf").write_text(settings + "user root\n")
        cls.broker = None
        cls.start()
        cls.addClassCleanup(lambda: cls.end(signal.SIGTERM))

    @classmethod
    def start(cls):
        log = open(cls.dir / "broker.log", "a")
        cls.broker = subprocess.Popen(
            [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", cls.dir / "broker.conf"], stdout=log, stderr=log
        )
        log.close()

        def listens():
            if cls.broker.poll() is not None:
                raise AssertionError("Mosquitto ended: " + (cls.dir / "broker.log").read_text()[-2000:])
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", cls.port)) == 0

        wait("Mosquitto listens", listens)

    @classmethod
    def end(cls, how):
        cls.broker.send_signal(how)
        cls.broker.wait(10)

    def client(self, program, user, *arguments, tls=True, password=None):
        command = [program, "-h", "127.0.0.1", "-p", str(self.port), "-V", "5"]
        if user:
            command += ["-u", user, "-P", password or f"secret of {user}"]
        if tls:
            command += ["--cafile", str(self.dir / "certs/ca.crt")]
        return command + list(arguments)

    def publish(self, user, topic, message="x", **more):
        """The reason code of the broker: 0 or 16 (nobody subscribes) is yes, 135 (not authorised) is no."""
        ended = subprocess.run(
            self.client("mosquitto_pub", user, "-q", "1", "-d", "-t", topic, "-m", message, **more),
            capture_output=True,
            text=True,
            timeout=10,
        )
        found = re.search(r"received PUBACK \(Mid: \d+, RC:(\d+)\)", ended.stdout)
        self.assertTrue(found, f"no answer to {user} on {topic}: {ended.stdout}{ended.stderr}")
        return int(found[1])

    def may_write(self, user, *topics):
        for topic in topics:
            self.assertIn(self.publish(user, ROOT + topic), (0, 16), f"{user} may write {topic}")

    def may_not_write(self, user, *topics):
        for topic in topics:
            self.assertEqual(self.publish(user, ROOT + topic), 135, f"{user} may not write {topic}")

    def hears(self, user, subscription, topic, writer):
        """Whether `user` receives what `writer` publishes on the topic. A retained message needs no waiting for the subscription."""
        retained = subprocess.run(
            self.client("mosquitto_pub", writer, "-q", "1", "-r", "-t", topic, "-m", "kept"),
            capture_output=True,
            timeout=10,
        )
        self.assertEqual(retained.returncode, 0)
        self.addCleanup(
            subprocess.run,
            self.client("mosquitto_pub", writer, "-q", "1", "-r", "-n", "-t", topic),
            capture_output=True,
            timeout=10,
        )
        heard = subprocess.run(
            self.client("mosquitto_sub", user, "-q", "1", "-t", subscription, "-C", "1", "-W", "1", "-F", "%t"),
            capture_output=True,
            text=True,
            timeout=10,
        )
        return heard.stdout.strip() == topic

    def may_read(self, user, topic, writer, subscription=None):
        self.assertTrue(
            self.hears(user, ROOT + (subscription or topic), ROOT + topic, writer), f"{user} may read {topic}"
        )

    def may_not_read(self, user, topic, writer, subscription=None):
        self.assertFalse(
            self.hears(user, ROOT + (subscription or topic), ROOT + topic, writer), f"{user} may not read {topic}"
        )

    def test_there_is_tls_and_nothing_else(self):
        plain = subprocess.run(
            self.client("mosquitto_pub", GATEWAY, "-q", "1", "-t", ROOT + "events/a/entered", "-m", "x", tls=False),
            capture_output=True,
            timeout=10,
        )
        self.assertNotEqual(plain.returncode, 0)
        old = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{self.port}", "-tls1_1"],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=10,
        )
        self.assertNotEqual(old.returncode, 0)
        listeners = re.findall(r"^listener .*", (DEPLOY / "mosquitto.conf").read_text(), flags=re.M)
        self.assertEqual(listeners, ["listener 8883"])

    def test_the_certificate_is_the_brokers_by_name_and_address(self):
        for name in ("localhost", "127.0.0.1"):
            told = subprocess.run(
                [
                    "openssl",
                    "s_client",
                    "-connect",
                    f"127.0.0.1:{self.port}",
                    "-CAfile",
                    self.dir / "certs/ca.crt",
                    "-verify_return_error",
                    "-verify_ip" if name[0].isdigit() else "-verify_hostname",
                    name,
                ],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=10,
            )
            self.assertIn("Verify return code: 0 (ok)", told.stdout, name)
        other = subprocess.run(
            [
                "openssl",
                "s_client",
                "-connect",
                f"127.0.0.1:{self.port}",
                "-CAfile",
                self.dir / "certs/ca.crt",
                "-verify_return_error",
                "-verify_hostname",
                "other.example",
            ],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=10,
        )
        self.assertNotEqual(other.returncode, 0)

    def test_the_keys_are_for_their_owner_only(self):
        for name in ("ca.key", "server.key"):
            self.assertEqual(os.stat(self.dir / "certs" / name).st_mode & 0o077, 0, name)

    def test_an_authority_that_is_there_is_used_again(self):
        with tempfile.TemporaryDirectory() as there:
            subprocess.run([DEPLOY / "make-certificates", there, "a.example"], check=True, capture_output=True)
            before = (Path(there) / "ca.crt").read_bytes(), (Path(there) / "server.crt").read_bytes()
            subprocess.run([DEPLOY / "make-certificates", there, "b.example"], check=True, capture_output=True)
            after = (Path(there) / "ca.crt").read_bytes(), (Path(there) / "server.crt").read_bytes()
        self.assertEqual(before[0], after[0])
        self.assertNotEqual(before[1], after[1])

    def test_nobody_comes_in_without_name_and_password(self):
        for user, password in ((None, None), (GATEWAY, "wrong"), ("nobody", "x")):
            ended = subprocess.run(
                self.client(
                    "mosquitto_pub", user, "-q", "1", "-t", ROOT + "events/a/entered", "-m", "x", password=password
                ),
                capture_output=True,
                timeout=10,
            )
            self.assertNotEqual(ended.returncode, 0, user)

    def test_a_gateway_writes_its_trees_and_nothing_else(self):
        self.may_write(
            GATEWAY,
            "events/door/entered",
            "triggers/hello",
            "cards/phone-1/hello",
            "presence/phone-1",
            "zones/door/occupancy",
            "beacons/b1/health",
            "replays/archive",
            "replays/archive/done",
            "gateways/gw-1/status",
        )
        self.may_not_write(
            GATEWAY,
            "gateways/gw-2/status",
            "gateways/gw-1/replay",
            "devices/phone-1/attributes",
            "positions/phone-1",
            "other",
        )
        self.assertEqual(self.publish(GATEWAY, "beaconfence/v1/store-2/events/door/entered"), 135)

    def test_a_gateway_reads_what_is_meant_for_it(self):
        self.may_read(GATEWAY, "positions/phone-1", "phone-1", "positions/+")
        self.may_read(GATEWAY, "devices/phone-1/attributes", "backend", "devices/+/attributes")
        self.may_read(GATEWAY, "gateways/gw-1/replay", "archive")
        self.may_not_read(GATEWAY, "gateways/gw-2/replay", "archive")
        self.may_not_read(GATEWAY, "events/door/entered", GATEWAY)

    def test_the_dispatcher_reads_events_triggers_and_cards_and_writes_nothing(self):
        for topic in ("events/door/entered", "triggers/hello", "cards/phone-1/hello"):
            self.may_read("dispatcher", topic, GATEWAY)
        self.may_not_read("dispatcher", "presence/phone-1", GATEWAY)
        self.may_not_read("dispatcher", "devices/phone-1/attributes", "backend")
        self.may_not_write("dispatcher", "triggers/hello", "devices/phone-1/attributes", "gateways/gw-1/replay")

    def test_dispatchers_share_a_subscription(self):
        """Nothing retained comes over a shared subscription: both are there before it is published."""
        self.assertEqual(len(self.shared("dispatcher")), 1)

    def test_a_shared_subscription_gives_no_more_than_a_plain_one(self):
        self.assertEqual(self.shared("stranger"), [])

    def shared(self, user):
        topic, heard = ROOT + "triggers/shared", []
        both = [
            subprocess.Popen(
                self.client("mosquitto_sub", user, "-q", "1", "-t", f"$share/d/{topic}", "-W", "3"),
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(2)
        ]
        time.sleep(1)
        self.assertIn(self.publish(GATEWAY, topic, "once"), (0, 16))
        for one in both:
            heard += one.communicate(timeout=10)[0].split()
        return heard

    def test_the_back_end_says_facts_and_sees_states(self):
        self.may_write("backend", "devices/phone-1/attributes")
        self.may_not_write(
            "backend", "positions/phone-1", "gateways/gw-1/replay", "events/door/entered", "gateways/gw-1/status"
        )
        for topic in (
            "events/door/entered",
            "presence/phone-1",
            "zones/door/occupancy",
            "beacons/b1/health",
            "gateways/gw-1/status",
        ):
            self.may_read("backend", topic, GATEWAY)
        self.may_not_read("backend", "replays/archive", GATEWAY)
        self.may_not_read("backend", "positions/phone-1", "phone-1")

    def test_the_archive_asks_for_replays_and_reads_its_own(self):
        self.may_write("archive", "gateways/gw-1/replay")
        self.may_not_write("archive", "devices/phone-1/attributes", "events/door/entered")
        for topic in (
            "events/door/entered",
            "triggers/hello",
            "gateways/gw-1/status",
            "replays/archive",
            "replays/archive/done",
        ):
            self.may_read("archive", topic, GATEWAY)
        self.may_not_read("archive", "replays/crm", GATEWAY)
        self.may_not_read("archive", "presence/phone-1", GATEWAY)

    def test_an_app_says_its_own_position_and_sees_its_own_cards(self):
        self.may_write("phone-1", "positions/phone-1")
        self.may_not_write("phone-1", "positions/phone-2", "cards/phone-1/hello", "devices/phone-1/attributes")
        self.may_read("phone-1", "cards/phone-1/hello", GATEWAY, "cards/phone-1/#")
        self.may_not_read("phone-1", "cards/phone-2/hello", GATEWAY, "cards/phone-2/#")
        self.may_not_read("phone-1", "cards/phone-2/hello", GATEWAY, "cards/+/#")
        self.may_not_read("phone-1", "triggers/hello", GATEWAY)

    def test_who_is_not_named_may_nothing(self):
        self.may_not_write(
            "stranger", "events/door/entered", "triggers/hello", "gateways/gw-1/replay", "devices/phone-1/attributes"
        )
        self.may_not_read("stranger", "events/door/entered", GATEWAY, "#")
        self.may_not_read("stranger", "gateways/gw-1/status", GATEWAY)

    def test_what_waits_for_a_subscriber_outlives_a_kill(self):
        session = self.client(
            "mosquitto_sub", "archive", "-q", "1", "-i", "archive-1", "-c", "-x", "86400", "-t", ROOT + "events/#"
        )
        subprocess.run([*session, "-E"], check=True, timeout=10)
        for n in range(50):
            self.assertEqual(self.publish(GATEWAY, ROOT + "events/door/entered", f"waits-{n}"), 0)
        store = self.dir / "data" / "mosquitto.db"
        began = time.time()
        wait("the autosave", lambda: store.exists() and store.stat().st_mtime > began, 15)
        self.end(signal.SIGKILL)
        self.start()
        heard = subprocess.run([*session, "-C", "50", "-W", "5"], capture_output=True, text=True, timeout=15)
        self.assertEqual(heard.stdout.split(), [f"waits-{n}" for n in range(50)])

    def test_more_than_mosquittos_thousand_waits(self):
        session = self.client(
            "mosquitto_sub", "archive", "-q", "1", "-i", "archive-2", "-c", "-x", "86400", "-t", ROOT + "events/#"
        )
        subprocess.run([*session, "-E"], check=True, timeout=10)
        lines = "".join(f"many-{n}\n" for n in range(3000))
        # One message at a time: this client loses lines when it has several under way.
        subprocess.run(
            self.client("mosquitto_pub", GATEWAY, "-q", "1", "-t", ROOT + "events/door/dwelled", "-l", "-M", "1"),
            input=lines,
            text=True,
            check=True,
            timeout=60,
        )
        heard = subprocess.run([*session, "-W", "5"], capture_output=True, text=True, timeout=20).stdout.split()
        self.assertGreater(len([line for line in heard if line.startswith("many-")]), 1100)
