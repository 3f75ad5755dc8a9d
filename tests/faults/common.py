"""What every fault test needs: arguments, a seed, a directory of its own, children that end with it, waiting."""

import argparse
import ctypes
import datetime
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

from check import Verdict

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

# Far beyond what anything here takes; never a measure of speed.
LIMIT = 60.0


class Failed(Exception):
    """Something did not hold, and going on makes no sense."""


def binary():
    """The binary under test."""
    path = pathlib.Path(os.environ.get("BEACONFENCE") or ROOT / "target/release/beaconfence").resolve()
    if not os.access(path, os.X_OK):
        raise Failed(f"no binary under test at {path}: run `cargo build --release`, or set BEACONFENCE")
    return str(path)


def instant(milliseconds):
    """RFC 3339 in UTC with milliseconds."""
    at = datetime.datetime.fromtimestamp(milliseconds // 1000, datetime.timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def seconds(text):
    """The opposite: seconds since 1970."""
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def as_root(*command):
    """Runs a command that only root may."""
    command = list(command) if os.geteuid() == 0 else ["sudo", "-n", *command]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)}: {done.stderr.strip()} (this test needs root or sudo)")


class Run:
    """One run of one test."""

    def __init__(self, name, options):
        self.name = name
        self.options = options
        self.long = options.long
        self.seed = options.seed
        self.rng = random.Random(self.seed)
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"beaconfence-{name}."))
        self.verdict = Verdict(name)
        self._cleanups = []
        self._watched = {}

    def say(self, text):
        print(f"{self.name}: {text}", flush=True)

    def at_end(self, what):
        """Calls `what` at the end, whatever happens; last in, first out."""
        self._cleanups.append(what)

    def clean_up(self):
        while self._cleanups:
            try:
                self._cleanups.pop()()
            except Exception as error:  # the others shall still be cleaned up
                self.verdict.problem("wrong", f"clean-up: {error}")

    def spawn(self, command, log, watch=None, **more):
        """A child that ends with this process, however that ends. Call it from the main thread only."""
        with open(self.dir / log, "ab") as output:
            child = subprocess.Popen(command, stdout=output, stderr=output, preexec_fn=_die_with_parent, **more)
        self.at_end(lambda: end(child))
        if watch:
            self._watched[child] = watch
        return child

    def unwatch(self, child):
        self._watched.pop(child, None)

    def all_alive(self):
        """Fails where a child that should run has ended."""
        for child, what in list(self._watched.items()):
            if child.poll() is not None:
                self._watched.pop(child)
                raise Failed(f"{what} has ended by itself with {child.returncode}")

    def wait_for(self, what, look, limit=LIMIT, step=0.02):
        """Waits until `look` gives something true, and returns it; fails where a child dies or the limit is over."""
        until = time.monotonic() + limit
        while True:
            found = look()
            if found:
                return found
            self.all_alive()
            if time.monotonic() > until:
                raise Failed(f"waited {limit:.0f} s in vain: {what}")
            time.sleep(step)

    def pause(self, duration):
        """Lets that much time pass under the fault; a child that dies meanwhile is a failure."""
        until = time.monotonic() + duration
        while (left := until - time.monotonic()) > 0:
            self.all_alive()
            time.sleep(min(left, 0.1))

    def tail(self):
        for log in sorted(self.dir.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-15:]
            print(f"  --- {log.name}, its end:")
            for line in lines:
                print(f"  {line[:400]}")


def end(child):
    if child.poll() is None:
        child.kill()
    child.wait()


def _stop(signum, frame):
    raise KeyboardInterrupt


def main(name, body, add_arguments=None):
    """Runs `body(run)`, prints what was wrong and the last line, and ends the process. Arguments that `add_arguments(parser)` adds are in
    `run.options`."""
    parser = argparse.ArgumentParser()
    if add_arguments:
        add_arguments(parser)
    parser.add_argument("--long", action="store_true", help="many more faults")
    parser.add_argument("--seed", type=int, default=None, help="makes the same choices again")
    parser.add_argument("--keep", action="store_true", help="keeps the directory with logs and recordings")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 32)
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGHUP, _stop)
    run = Run(name, options)
    run.say(f"seed {run.seed}, {'long' if run.long else 'short'} form")
    began = time.monotonic()
    try:
        body(run)
    except Failed as failure:
        run.verdict.problem("wrong", str(failure))
    except KeyboardInterrupt:
        run.verdict.problem("wrong", "interrupted")
    except Exception:
        run.verdict.problem("wrong", f"the test itself failed:\n{traceback.format_exc()}")
    held = run.verdict.holds()
    if not held:
        run.tail()
    run.clean_up()
    held = run.verdict.holds()
    run.verdict.report()
    if held and not options.keep:
        shutil.rmtree(run.dir, ignore_errors=True)
    else:
        run.say(f"everything is in {run.dir}")
    run.say(f"took {time.monotonic() - began:.0f} s")
    print(run.verdict.line(), flush=True)
    # Threads of clients that still wait must not hold up the end.
    sys.stdout.flush()
    os._exit(0 if held else 1)
