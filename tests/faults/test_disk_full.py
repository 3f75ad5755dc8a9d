"""The disk of the database is full, read-only, or gives errors, and is well again; the gateway goes on, and nothing is lost.

Full: a small tmpfs and a filler. Read-only and errors: a file system cannot be remounted read-only while a file is open for
writing, and a kernel that does it by itself after an error never goes back without an unmount; so noio.c, preloaded,
gives the gateway the errors that it would then see (EROFS, EIO), for the files of its data directory."""

import errno
import os
import subprocess

import common
import judge
import store
from broker import Mosquitto
from gateway import ID, Gateway
from subscriber import Reporter, Subscriber
from walk import Walk, Walker, announce, finish

DEVICES = 12
RATE = 80
MEGABYTES = 24
# Large events, so that the database grows.
FILLING = 4000


class Filler:
    """Takes every byte that is free, also those that become free."""

    def __init__(self, path):
        self.path = path
        self.file = None

    def fill(self):
        if self.file is None:
            self.file = open(self.path, "wb", buffering=0)
        taken = 0
        for size in (1 << 20, 1 << 12, 1):
            try:
                while True:
                    taken += self.file.write(b"\0" * size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
        return taken

    def free(self):
        if self.file:
            self.file.close()
            self.file = None
        self.path.unlink(missing_ok=True)


def failing(subscriber):
    """The words, while the store takes nothing."""
    words = (subscriber.status().get("store") or {}).get("failing")
    return words if words and isinstance(words, str) else None


def body(run):
    disk = run.dir / "disk"
    disk.mkdir()
    common.as_root("mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m,mode=0777", "tmpfs", str(disk))
    run.at_end(lambda: common.as_root("umount", "-l", str(disk)))
    library, switch = run.dir / "noio.so", run.dir / "noio"
    built = subprocess.run(
        ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(common.HERE / "noio.c"), "-ldl"], capture_output=True, text=True
    )
    if built.returncode != 0:
        raise common.Failed(f"noio.c: {built.stderr}")

    broker = Mosquitto(run, "max_queued_messages 0\n")
    walk = Walk(run.rng, DEVICES)
    site = store.write_reports_site(run.dir / "site", walk.everybody, metadata_bytes=FILLING)
    subscriber = Subscriber(run, broker.port, store.REPORTS, ID)
    reporter = Reporter(run, broker.port, store.REPORTS)
    gateway = Gateway(
        run,
        site,
        store.REPORTS,
        broker.url,
        data_dir=disk / "data",
        outbox={"max_megabytes": 8, "keep_megabytes": 2},
        environment={"LD_PRELOAD": str(library), "NOIO_SWITCH": str(switch), "NOIO_DIRECTORY": str(disk)},
    )
    gateway.start()
    announce(run, walk, reporter.send_heard, subscriber)

    filler = Filler(disk / "filler")
    run.at_end(filler.free)
    walker = Walker(walk, reporter.send, RATE).start()
    rounds = ["full", "read-only", "full", "errors"] * (10 if run.long else 1)
    said = 0
    for fault in rounds:
        run.pause(run.rng.uniform(1.0, 3.0))
        begin(fault, filler, switch)
        before = subscriber.counter("events_acknowledged")
        words = run.wait_for(
            f"the status says that the disk takes nothing, or events flow on ({fault})",
            lambda: (fault == "full" and filler.fill(), failing(subscriber) or flows_on(fault, subscriber, before))[-1],
            step=0.1,
        )
        run.verdict.faults += 1
        said += fault == "full" and words != WITHSTOOD
        run.say(f"{fault}: the status says: {words}")
        run.pause(run.rng.uniform(0.5, 4.0))
        if gateway.child.poll() is not None:
            raise common.Failed("the gateway ended")
        filler.free()
        switch.unlink(missing_ok=True)
        run.wait_for("the status says that all is well again", lambda: not failing(subscriber), step=0.1)
    if not said:
        run.verdict.problem("wrong", "no full disk was ever noticed: nothing was tested")
    walker.stop()
    reporter.flush()
    finish(walk, reporter.send, subscriber)
    next_sequence = judge.settle(run, gateway, subscriber)
    judge.judge(run, subscriber, next_sequence, lines=walk.reports, site=site)
    run.verdict.note(f"the data directory holds {sum(f.stat().st_size for f in (disk / 'data').iterdir()) >> 10} KiB in the end")


WITHSTOOD = "nothing, for the database has room of its own, and events flow on"


def flows_on(fault, subscriber, before):
    """A database that was larger before has free pages in its file, and a full disk does not touch it."""
    return WITHSTOOD if fault == "full" and (subscriber.counter("events_acknowledged") or 0) > (before or 0) + 500 else None


def begin(fault, filler, switch):
    if fault == "full":
        filler.fill()
    else:
        code = errno.EROFS if fault == "read-only" else errno.EIO
        new = switch.with_suffix(".new")
        new.write_text(str(code))
        os.replace(new, switch)


if __name__ == "__main__":
    common.main("disk-full", body)
