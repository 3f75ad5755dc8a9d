"""A simulated store whose truth is known: 1, 3, 5 and 12 receivers, shadowing and fading of 2, 4 and 6 dB.

Goals stand on five receivers at 4 dB, for an hour with 40 shoppers, of whom eight stand still. The other cells are
shorter and have no goals. Nothing is learned; all settings are the defaults.

Receivers that die: the same hour once more, each of the five receivers silent for ten minutes in turn. What the
others hear is the same to the bit. Silence is all that the gateway gets: nobody tells it that the receiver is down. A
*wrong room* is an `entered` from the beginning of an outage until a minute after its end, of a device that was at no
time in the 11 s before (10 s and `enter_after`) within 3 m of the zone, where the hour without outages has no
`entered` of that device and zone within 30 s.

The simulation is no substitute for recordings: walls and bodies are only part of its shadowing.
"""

import concurrent.futures
import dataclasses
import math
import shutil

import store
from common import Failed, at_least, at_most, figure, table
from visits import Truth, compare, events, position_errors

SEED = 20
EXPONENT, PACKET_LOSS, INTERVAL = "2.5", "0.2", "200ms"
GOALS = (5, 4)
STANDING = {40: 8, 20: 4}
# From and to, in minutes, for each of the five receivers.
OUTAGES = [(4 + 11 * n, 14 + 11 * n) for n in range(5)]
AFTER = 60.0
FAR = 3.0
BEFORE = 11.0
SAME = 30.0


@dataclasses.dataclass(frozen=True)
class Cell:
    receivers: int
    db: int
    minutes: int = 30
    shoppers: int = 20
    outages: bool = False


MAIN = Cell(*GOALS, minutes=60, shoppers=40)
DYING = dataclasses.replace(MAIN, outages=True)
# The long ones first: two processes then end at about the same time.
CELLS = [MAIN, DYING] + sorted(
    (Cell(n, db) for n in store.RECEIVERS for db in (2, 4, 6) if (n, db) != GOALS), key=lambda cell: -cell.receivers
)


def run(program, _data, folder):
    with concurrent.futures.ProcessPoolExecutor(max_workers=2) as pool:
        waiting = {cell: pool.submit(measure, program, folder / f"cell-{n}", cell) for n, cell in enumerate(CELLS)}
        try:
            results = {cell: result.result() for cell, result in waiting.items()}
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    main, dying = results[MAIN], results[DYING]
    truth = main["truth"]
    wrong = wrong_rooms(truth, main["events"], dying["events"])
    name = "simulation/5-receivers-4-dB"
    for kind, count in main["counts"].items():
        figure(f"{name}/{kind}/precision", count.precision, at_least(0.95), 3)
        figure(f"{name}/{kind}/recall", count.recall, at_least(0.95), 3)
    figure(f"{name}/standing/false_exits", main["false_exits"], at_most(0), 0)
    figure(f"{name}/receiver-dies/wrong_rooms", len(wrong), at_most(0), 0)
    show(results, len(wrong), sum(truth.inside(e.device, e.zone, e.time) for e in main["counts"]["entered"].false))


def measure(program, folder, cell):
    """Simulates, replays and scores one cell."""
    site = store.make(folder / "site", cell.receivers)
    out = folder / "out"
    program.run(
        "simulate", "--site", site, "--out", out, "--duration", f"{cell.minutes}m", "--seed", str(SEED),
        "--shoppers", str(cell.shoppers), "--standing", str(STANDING[cell.shoppers]),
        "--shoppers-only", "--strangers", "0",
        "--shadowing-db", str(cell.db), "--fading-db", str(cell.db), "--exponent", EXPONENT,
        "--packet-loss", PACKET_LOSS, "--interval", INTERVAL, *outages(cell),
    )
    truth = Truth(out / "truth.csv")
    sightings, found = out / "sightings.jsonl", out / "found.jsonl"
    program.run("replay", "--events", "--site", site, sightings, out=found)
    made = events(found, store.ZONES)
    standing = truth.standing()
    result = {
        "events": made, "counts": compare(truth, made, store.ZONES), "standing": len(standing),
        "false_exits": sum(
            e.kind == "exited" and e.device in standing and truth.nearest(e.device, e.zone, truth.start, truth.end) == 0
            for e in made
        ),
        "truth": truth if cell == MAIN else None,
    }
    if not cell.outages:
        program.run("replay", "--positions", "--site", site, sightings, out=found)
        result["positions"] = position_errors(found, truth)
        if not result["positions"][0]:
            raise Failed(f"{cell}: not a single position to be scored")
    shutil.rmtree(folder)
    return result



def outages(cell):
    if not cell.outages:
        return []
    return [f"--outage={store.receiver(n)}:{start}m:{end}m" for n, (start, end) in enumerate(OUTAGES)]


def wrong_rooms(truth, without, with_outages):
    """Events that put a device into a room where it is not, and that only the outages explain."""
    usual = {}
    for event in without:
        if event.kind == "entered":
            usual.setdefault((event.device, event.zone), []).append(event.time)
    wrong = []
    for event in with_outages:
        since = event.time - truth.start
        if (
            event.kind == "entered"
            and any(60 * start <= since <= 60 * end + AFTER for start, end in OUTAGES)
            and truth.nearest(event.device, event.zone, event.time - BEFORE, event.time) > FAR
            and not any(abs(time - event.time) <= SAME for time in usual.get((event.device, event.zone), ()))
        ):
            wrong.append(event)
    return wrong


def show(results, wrong, late):
    head = ["receivers", "mean", "p90", "in 1", "in 2", "covered"]
    head += ["entered P", "R", "exited P", "R", "visits", "false exits"]
    rows = []
    for cell in sorted(results, key=lambda cell: (cell.receivers, cell.db, cell.outages)):
        result = results[cell]
        counts = result["counts"]
        row = [f"{cell.receivers:2}, {cell.db} dB" + (", dying" if cell.outages else "")]
        if cell.outages:
            row += [""] * 5
        else:
            errors, one, two, missing = result["positions"]
            n = len(errors)
            row += [f"{sum(errors) / n:.2f}", f"{errors[int(n * 0.9)]:.2f}", f"{one / n:.2f}", f"{two / n:.2f}"]
            row += [f"{n / (n + missing):.3f}"]
        for count in counts.values():
            row += ["-" if math.isnan(value) else f"{value:.3f}" for value in (count.precision, count.recall)]
        rows.append([*row, counts["entered"].asked, result["false_exits"]])
    unanswered, shortest = len(results[MAIN]["counts"]["entered"].false), results[CELLS[-1]]
    table(
        "Simulated store: errors in m, entered and exited (P precision, R recall), false exits of who stands still",
        head, rows, (
            "in 1, in 2: truth within one and two accuracies. covered: seconds with a position not older than 10 s.",
            f"5 receivers at 4 dB: 60 minutes, 40 shoppers, {results[MAIN]['standing']} of them standing still.",
            f"Dying: each receiver silent for 10 minutes in turn; {wrong} wrong rooms. Without that, {unanswered} entered",
            f"were false: {late} late, while the device was in the zone, {unanswered - late} at other times.",
            f"The others: 30 minutes, 20 shoppers, {shortest['standing']} of them standing still; no goals.",
        ),
    )
