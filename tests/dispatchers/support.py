"""A broker, a proxy, a webhook and a dispatcher."""

import copy
import datetime
import http.server
import json
import os
import pathlib
import queue
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import urllib.request
import uuid

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / "deploy/examples/dispatcher/python"
EXAMPLES = ROOT / "docs/examples"
PREFIX = "beaconfence/v1"
PATIENCE = 20


def example(name):
    return json.loads((EXAMPLES / f"{name}.json").read_text())


def instant(seconds_from_now):
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds_from_now)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"


def trigger(name="trigger", expires_in=600.0, **data):
    """A trigger that is new: of its own id and key."""
    made = copy.deepcopy(example(name))
    made["id"] = str(uuid.uuid4())
    made["time"] = instant(-1)
    made["data"].update(deduplication_key=made["id"], observed_at=made["time"], decided_at=made["time"], expires_at=instant(expires_in))
    made["data"].update(data)
    return made


def wait_for(what, condition, patience=PATIENCE):
    end = time.monotonic() + patience
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"in {patience} s not: {what}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def accepts(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Proxy:
    """Passes on what goes between a client and the broker; while `mute`, nothing of the client's."""

    def __init__(self, to):
        self._to, self.mute = to, False
        self.swallowed = 0
        self._sockets = []
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._server.accept()
                broker = socket.create_connection(("127.0.0.1", self._to))
            except OSError:
                return
            self._sockets += [client, broker]
            for source, target, of_client in ((client, broker, True), (broker, client, False)):
                threading.Thread(target=self._pass_on, args=(source, target, of_client), daemon=True).start()

    def _pass_on(self, source, target, of_client):
        try:
            while some := source.recv(65536):
                if of_client and self.mute:
                    self.swallowed += len(some)
                else:
                    target.sendall(some)
        except OSError:
            pass
        for one in (source, target):
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        source.close()

    def cut(self):
        """Ends every connection."""
        sockets, self._sockets = self._sockets, []
        for one in sockets:
            try:
                one.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self._server.close()


class Hook:
    """A webhook: what it was POSTed, and how it answers."""

    def __init__(self):
        self.posts = []
        self.status = 200
        self.held = None
        hook = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                hook.posts.append((self.headers["Idempotency-Key"], json.loads(body), hook.status))
                if hook.held:
                    hook.held.wait()
                try:
                    self.send_response(hook.status)
                    self.send_header("Content-Length", "0")
                    if 300 <= hook.status < 400:
                        self.send_header("Location", hook.url)
                    self.end_headers()
                except OSError:
                    pass

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self._server.server_port}/messages"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def taken(self):
        return [key for key, _, status in self.posts if status == 200]

    def close(self):
        if self.held:
            self.held.set()
        self._server.shutdown()
        self._server.server_close()


class Process:
    """A program of ours, its lines, and what it says."""

    def __init__(self, case, command):
        self.log = case.dir / f"log-{uuid.uuid4().hex[:8]}"
        self.lines = []
        with self.log.open("wb") as log:
            self.child = subprocess.Popen(command, cwd=case.dir, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        case.addCleanup(self.kill)

    def _read(self):
        for line in self.child.stdout:
            self.lines.append(json.loads(line))

    def ids(self):
        return [line["id"] for line in self.lines]

    def said(self, text):
        if self.child.poll() is not None:
            raise AssertionError(f"it ended with {self.child.returncode}: {self.log.read_text()}")
        return text in self.log.read_text()

    def kill(self):
        """kill -9"""
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        self._reader.join()
        self.child.stdout.close()

    def stop(self):
        """As an operator stops it."""
        self.child.send_signal(signal.SIGTERM)
        code = self.child.wait(PATIENCE)
        self._reader.join()
        if code != 0:
            raise AssertionError(f"it ended with {code}: {self.log.read_text()}")

    def metrics(self):
        said = self.log.read_text()
        url = said.split("metrics: ", 1)[1].split()[0]
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            lines = answer.read().decode().splitlines()
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


class Client:
    """Publishes, and keeps what it is sent."""

    def __init__(self, case):
        self.came = queue.Queue()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = lambda _client, _data, message: self.came.put(message)
        self._client.connect("127.0.0.1", case.port)
        self._client.loop_start()
        case.addCleanup(self.close)

    def publish(self, topic, content, retain=False, expiry=None):
        properties = None
        if expiry is not None:
            properties = Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = expiry
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self._client.publish(f"{PREFIX}/{topic}", content, 1, retain, properties).wait_for_publish(PATIENCE)

    def fire(self, *triggers):
        for one in triggers:
            self.publish(f"market-hall/triggers/{one['data']['trigger']}", one)

    def subscribe(self, topic):
        self._client.subscribe(f"{PREFIX}/{topic}", 1)

    def close(self):
        self._client.disconnect()
        self._client.loop_stop()


class Case(unittest.TestCase):
    """A real Mosquitto for each test."""

    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="beaconfence-dispatchers.")
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        self.port = free_port()
        # Started by root it would become another user, who cannot read the directory.
        (self.dir / "broker.conf").write_text(f"user root\nlistener {self.port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n")
        program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
        with (self.dir / "broker.log").open("wb") as log:
            broker = subprocess.Popen([program, "-v", "-c", self.dir / "broker.conf"], stdout=log, stderr=log)
        self.addCleanup(broker.wait)
        self.addCleanup(broker.kill)
        wait_for("Mosquitto listens", lambda: accepts(self.port))

    def client(self):
        return Client(self)

    def python(self, program, *arguments, port=None):
        return Process(self, [sys.executable, "-B", PYTHON / program, "--broker", f"mqtt://127.0.0.1:{port or self.port}", "--prefix", PREFIX, *arguments])


def rust_program():
    path = pathlib.Path(os.environ["BEACONFENCE_DISPATCHER"])
    if not path.is_file():
        raise SystemExit(f"there is no {path}")
    return path
