"""The gateway under test."""

import json
import os
import select
import subprocess
import threading
import time

from common import LIMIT, Failed, binary, end

ID = "gw-1"


class Gateway:
    """The release binary with a configuration of its own. With `feed`, it reads sightings from standard input."""

    def __init__(self, run, site, site_id, broker_url, feed=False, data_dir=None, outbox=None, environment=None, name="gateway"):
        self.run, self.site, self.site_id, self.feeds, self.name = run, site, site_id, feed, name
        self.environment = environment or {}
        self.child = None
        self.lives = []  # (monotonic, wall clock) of each start
        self._stdin = threading.Lock()
        data_dir = data_dir or run.dir / f"{name}-data"
        limits = "".join(f"{key} = {json.dumps(value)}\n" for key, value in (outbox or {}).items())
        self.config = run.dir / f"{name}.toml"
        self.config.write_text(
            f'id = "{ID}"\nsite = {json.dumps(str(site))}\ndata_dir = {json.dumps(str(data_dir))}\n\n'
            f'[mqtt]\nbrokers = ["{broker_url}"]\nkeep_alive = "2s"\nstatus_interval = "1s"\n'
            + (f"\n[outbox]\n{limits}" if limits else "")
        )

    def start(self):
        command = [binary(), "run", "--config", str(self.config)]
        if self.feeds:
            command += ["--sightings", "-"]
        self.lives.append((time.monotonic(), time.time()))
        with self._stdin:
            self.child = self.run.spawn(
                command,
                f"{self.name}.log",
                "the gateway",
                stdin=subprocess.PIPE if self.feeds else subprocess.DEVNULL,
                env={**os.environ, **self.environment},
            )
            if self.feeds:
                os.set_blocking(self.child.stdin.fileno(), False)

    def kill(self):
        """kill -9."""
        self.run.unwatch(self.child)
        if self.child.poll() is not None:
            raise Failed(f"the gateway had ended by itself with {self.child.returncode}")
        end(self.child)
        if self.feeds:
            with self._stdin:
                self.child.stdin.close()

    def stop(self):
        """In good order."""
        self.run.unwatch(self.child)
        self.child.terminate()
        try:
            code = self.child.wait(30)
        except subprocess.TimeoutExpired:
            raise Failed("the gateway did not stop within 30 s of a SIGTERM") from None
        if code != 0:
            raise Failed(f"the gateway stopped with exit code {code}")

    def feed(self, lines, patience=LIMIT):
        """Writes lines to its standard input. Returns False where it is not running, or, with a patience of 0, where it
        takes none at the moment."""
        data = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
        until = time.monotonic() + max(patience, 10)
        written = 0
        with self._stdin:
            stdin = self.child.stdin
            while written < len(data):
                try:
                    written += os.write(stdin.fileno(), data[written:])
                except BlockingIOError:
                    if patience == 0 and written == 0:
                        return False
                    if time.monotonic() > until:
                        raise Failed("the gateway reads nothing from its standard input") from None
                    select.select([], [stdin], [], 0.1)
                except (BrokenPipeError, ValueError):
                    return False
        return True

    def outbox(self):
        """What `beaconfence outbox` says, of a running gateway or a stopped one."""
        done = subprocess.run(
            [binary(), "outbox", "--config", str(self.config), "--json"], capture_output=True, text=True, timeout=LIMIT
        )
        if done.returncode != 0:
            raise Failed(f"beaconfence outbox: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def wait_until_empty(self, limit=LIMIT):
        """Until nothing waits to be published."""
        self.run.wait_for("the outbox is empty", lambda: self.outbox()["depth"] == 0, limit, 0.3)


def reference(run, site, lines, epoch, gateway=ID):
    """The events that must follow from these lines."""
    path = run.dir / "reference.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = subprocess.run(
        [binary(), "replay", str(path), "--site", str(site), "--events", "--epoch", epoch, "--gateway", gateway],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise Failed(f"beaconfence replay: {done.stderr.strip()}")
    return [json.loads(line) for line in done.stdout.splitlines()]
