"""What the parts share: the program under test, figures, tables, site directories."""

import datetime
import math
import os
import pathlib
import shutil
import subprocess
import sys

SITE_FILES = ("site.toml", "zones.geojson", "beacons.csv", "devices.csv")


class Failed(Exception):
    """A figure could not be had; the text says why."""


class Program:
    """The binary under test."""

    def __init__(self, path):
        self.path = os.fspath(path)
        if not os.access(self.path, os.X_OK) or not os.path.isfile(self.path):
            raise Failed(f"there is no program {path}; build it, or set BEACONFENCE_BIN")

    def run(self, *arguments, out=None):
        """Runs it; standard output goes to the file `out` or nowhere. Anything but exit 0 is a failure."""
        with open(out or os.devnull, "wb") as stdout:
            done = subprocess.run([self.path, *map(os.fspath, arguments)], stdout=stdout, stderr=subprocess.PIPE)
        if done.returncode:
            said = (done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"])[0]
            raise Failed(f"beaconfence {' '.join(map(str, arguments))} ended with {done.returncode}: {said}")

    def calibrate(self, site, survey):
        """Learns from the survey, into the site directory."""
        known = subprocess.run([self.path, "calibrate", "--help"], capture_output=True).returncode == 0
        if not known:
            raise Failed("this beaconfence has no command calibrate; what is measured with a survey cannot be had")
        self.run(
            "calibrate", "--site", site, "--sightings", survey / "sightings.jsonl.gz", "--points", survey / "points.csv"
        )
        if not (site / "calibration.json").is_file():
            raise Failed("calibrate ended well but wrote no calibration.json into the site directory")


def copy_site(source, target):
    """The four files of a site directory, and nothing that was learned."""
    target.mkdir(parents=True)
    for name in SITE_FILES:
        shutil.copyfile(source / name, target / name)
    return target


def need(*paths):
    """All of them must be there."""
    for path in paths:
        if not pathlib.Path(path).exists():
            raise Failed(f"BEACONFENCE_DATA is wrong: there is no file {path}")


def instant(text):
    """RFC 3339 to seconds."""
    return datetime.datetime.fromisoformat(text).timestamp()


def at_most(goal):
    """A goal that a figure must not exceed."""
    return goal, lambda value: value <= goal


def at_least(goal):
    """A goal that a figure must reach."""
    return goal, lambda value: value >= goal


def between(low, high):
    """A goal with two ends."""
    return f"{low:.2f}..{high:.2f}", lambda value: low <= value <= high


def figure(name, value, goal, digits=2):
    """Prints one figure. One that is no number is missed: something that was to be measured never happened. What is
    compared is what is printed."""
    shown, holds = goal
    value = round(float(value), digits)
    shown = shown if isinstance(shown, str) else f"{shown:.{digits}f}"
    met = not math.isnan(value) and holds(value)
    print(f"accuracy/{name} measured={value:.{digits}f} goal={shown} {'met' if met else 'missed'}", flush=True)


def table(title, head, rows, note=()):
    """Prints a table: the first column left, the others right aligned."""
    rows = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    def line(row):
        return "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:]))]).rstrip()

    print(f"\n{title}")
    for text in [line(head), "-" * (sum(widths) + 2 * len(widths) - 2), *map(line, rows), *note]:
        print(text)
    print()
    sys.stdout.flush()
