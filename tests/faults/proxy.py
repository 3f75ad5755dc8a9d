"""A TCP proxy with faults, between the gateway and its broker."""

import select
import socket
import struct
import threading
import time


class Proxy:
    """Passes on what comes, until it is told otherwise.

    A stream that lost bytes is never mended: its connection swallows everything from then on, and ends with the fault."""

    FAULTS = ("delay", "swallow-up", "swallow-down", "swallow", "half-close", "reset", "torn", "away")

    def __init__(self, run, target):
        self.target = target
        self.lock = threading.Lock()
        self.pairs = set()
        self.mode = "pass"
        self.delay = 0.0
        self.passed = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.closed = False
        run.at_end(self.close)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self):
        return f"mqtt://127.0.0.1:{self.port}"

    def close(self):
        self.closed = True
        self.listener.close()
        self.reset()

    def begin(self, fault, delay=0.3):
        """Begins a fault; those that are over at once are `reset`, `torn` and `half-close`."""
        assert fault in self.FAULTS
        if fault == "reset":
            self.reset()
        elif fault == "half-close":
            with self.lock:
                pairs = list(self.pairs)
            for pair in pairs:
                pair.half_close()
        elif fault == "away":
            self.mode = fault
            self.reset()
        else:
            self.delay = delay
            self.mode = fault

    def end(self):
        """Everything works again; streams with a hole in them end."""
        self.mode = "pass"
        with self.lock:
            broken = [pair for pair in self.pairs if pair.broken]
        for pair in broken:
            pair.reset()

    def reset(self):
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            pair.reset()

    def connections(self):
        with self.lock:
            return len(self.pairs)

    def _accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.mode == "away":
                _abort(client)
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target), 5)
            except OSError:
                _abort(client)
                continue
            pair = _Pair(self, client, server)
            with self.lock:
                self.pairs.add(pair)
            pair.start()


class _Pair:
    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.broken = False
        self.halved = False
        self.closed = False
        self.finished = 0
        for side in (client, server):
            side.settimeout(None)
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self):
        threading.Thread(target=self._pump, args=(self.client, self.server, "up"), daemon=True).start()
        threading.Thread(target=self._pump, args=(self.server, self.client, "down"), daemon=True).start()

    def _pump(self, source, target, direction):
        try:
            while not self.closed:
                if not select.select([source], [], [], 0.05)[0]:
                    continue
                chunk = source.recv(65536)
                if not chunk:
                    return self._finish(target)
                if self.proxy.mode == "delay":
                    time.sleep(self.proxy.delay)
                if self.broken or self.proxy.mode in ("swallow", f"swallow-{direction}"):
                    self.broken = True
                    continue
                if self.halved and direction == "down":
                    continue
                if self.proxy.mode == "torn" and len(chunk) > 1:
                    # A packet that never comes to its end.
                    target.sendall(chunk[: len(chunk) // 2])
                    self.proxy.mode = "pass"
                    break
                target.sendall(chunk)
                self.proxy.passed += len(chunk)
        except (OSError, ValueError):
            pass
        self.reset()

    def _finish(self, target):
        """One side has ended in good order: so does the other, once both have."""
        target.shutdown(socket.SHUT_WR)
        self.finished += 1
        if self.finished == 2:
            with self.proxy.lock:
                self.proxy.pairs.discard(self)
            self.closed = True
            self.client.close()
            self.server.close()

    def half_close(self):
        """The broker's side ends its half; what the gateway says still goes through."""
        self.halved = True
        try:
            self.client.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def reset(self):
        with self.proxy.lock:
            self.proxy.pairs.discard(self)
        self.closed = True
        _abort(self.client)
        _abort(self.server)


def _abort(side):
    try:
        side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    try:
        side.close()
    except OSError:
        pass
