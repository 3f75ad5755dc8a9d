"""How good positions and events are, and what they cost.

Usage: accuracy.py PROGRAM DATA [real|simulation|cost]... Each figure with a goal is a line `accuracy/… measured=X
goal=Y met|missed`; tables follow. Exit 0 where every figure could be had, met or missed; exit 1, with the reason,
where one could not."""

import pathlib
import sys
import tempfile
import time

import cost
import real
import simulation
from common import Failed, Program

PARTS = {"real": real.run, "simulation": simulation.run, "cost": cost.run}


def main():
    if len(sys.argv) < 3 or any(name not in PARTS for name in sys.argv[3:]):
        sys.exit(__doc__)
    names = sys.argv[3:] or list(PARTS)
    failed = []
    try:
        program = Program(sys.argv[1])
    except Failed as error:
        sys.exit(f"accuracy: {error}")
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="beaconfence-accuracy-") as folder:
            try:
                PARTS[name](program, pathlib.Path(sys.argv[2]), pathlib.Path(folder))
            except Failed as error:
                failed.append(name)
                sys.stdout.flush()
                print(f"accuracy: {name}: {error}", file=sys.stderr)
        print(f"({name} took {time.monotonic() - began:.0f} s)\n", flush=True)
    if failed:
        sys.exit(f"accuracy: could not be measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
