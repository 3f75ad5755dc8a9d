"""Real recordings, scored by the scorers that come with them.

What is learned from what: nothing at all (site directory alone), or `calibration.json` from the survey of the same
site, which holds none of the recordings that are scored. Settings are the defaults of each site's own files."""

import subprocess
import sys

import quoted
from common import Failed, at_least, at_most, between, copy_site, figure, need, table

TRACKS = {
    "danis": ("rectangular_without_rotation", "straight_01", "straight_02", "straight_03", "zigzagging_with_rotation"),
    "kolakowski": ("robot",),
}
STILL = ("00", "04", "12", "17", "20", "24", "28", "32", "35", "39")
SAL = tuple(f"car_sensor_1_measurement_{n}" for n in range(1, 6)) + ("walk_sensor_1_measurement_1",)
SCORERS = ("score_positions.py", "score_zones.py", "score_events.py")

# Mean error in metres.
MEAN = {
    ("danis", "survey"): 1.20, ("kolakowski", "survey"): 0.95,
    ("danis", "alone"): 1.80, ("kolakowski", "alone"): 1.45,
}
WITH = {"survey": "with the survey", "alone": "site directory alone"}


def run(program, data, folder):
    """Everything that needs no survey comes first, so that it is had even where there is no calibration."""
    need(*(data / "tools" / name for name in SCORERS))
    need(*inputs(data))
    alone = {name: copy_site(data / name / "site", folder / "alone" / name) for name in ("danis", "kolakowski", "sal")}
    scores = {}
    for name in TRACKS:
        scores[name, "alone"] = positions(program, data, folder, name, "alone", alone[name])
    sal_table(events(program, data, folder, alone["sal"]))
    try:
        learned = {}
        for name, of, survey in (
            ("danis", "danis", "survey"),
            ("kolakowski", "kolakowski", "survey"),
            ("danis-apart", "danis", "survey-apart"),
        ):
            learned[name] = copy_site(data / of / "site", folder / "survey" / name)
            program.calibrate(learned[name], data / of / survey)
        for name in TRACKS:
            scores[name, "survey"] = positions(program, data, folder, name, "survey", learned[name])
        standing = still(program, data, folder, learned["danis-apart"])
        walking = moving(program, data, folder, learned["danis"])
    finally:
        position_table(scores)
    zone_table(standing, walking)


def inputs(data):
    for name in TRACKS:
        yield data / name / "site"
        for recording in tracks(data, name):
            yield from recording
    for survey in ("danis/survey", "danis/survey-apart", "kolakowski/survey"):
        yield data / survey / "sightings.jsonl.gz"
        yield data / survey / "points.csv"
    for place in STILL:
        yield data / "danis" / "still" / f"{place}.jsonl.gz"
        yield data / "danis" / "still" / f"{place}.csv"
    yield data / "sal" / "site"
    for name in SAL:
        yield data / "sal" / "sightings" / f"{name}.jsonl.gz"
        yield data / "sal" / "events" / f"{name}.csv"


def replayed(program, folder, site, what, recordings):
    """Replays each (sightings, truth) and gives the arguments of a scorer."""
    arguments = []
    for number, (sightings, truth) in enumerate(recordings):
        out = folder / f"replayed-{number}.jsonl"
        program.run("replay", f"--{what}", "--site", site, sightings, out=out)
        arguments += [out, truth]
    return arguments


def scored(data, scorer, arguments):
    """A scorer's line as numbers. (It ends with 1 where it finds too little covered; the line says so too.)"""
    done = subprocess.run([sys.executable, "-B", data / "tools" / scorer, *arguments], capture_output=True, text=True)
    values = dict(word.split("=", 1) for word in done.stdout.split() if "=" in word)
    if done.returncode not in (0, 1) or done.stderr or len(values) < 4:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise Failed(f"{scorer}: {last[0]}")
    return {name: float(value) for name, value in values.items()}


def tracks(data, name):
    folder = data / name
    return [(folder / "sightings" / f"{track}.jsonl.gz", folder / "truth" / f"{track}.csv") for track in TRACKS[name]]


def positions(program, data, folder, name, learned, site):
    recordings = tracks(data, name)
    score = scored(data, "score_positions.py", replayed(program, folder, site, "positions", recordings))
    figure(f"{name}/{learned}/mean", score["mean"], at_most(MEAN[name, learned]))
    figure(f"{name}/{learned}/within1", score["within1"], between(0.30, 0.55))
    figure(f"{name}/{learned}/within2", score["within2"], at_least(0.80))
    figure(f"{name}/{learned}/covered", score["covered"], at_least(1.0), 3)
    return score


def still(program, data, folder, site):
    recordings = [(data / "danis" / "still" / f"{n}.jsonl.gz", data / "danis" / "still" / f"{n}.csv") for n in STILL]
    score = scored(data, "score_zones.py", [site, *replayed(program, folder, site, "events", recordings)])
    figure("danis/still/false", score["false"], at_most(1), 0)
    figure("danis/still/in_true_zones", score["in_true_zones"], at_least(0.97), 3)
    return score


def moving(program, data, folder, site):
    arguments = replayed(program, folder, site, "events", tracks(data, "danis"))
    score = scored(data, "score_zones.py", [site, *arguments])
    figure("danis/moving/in_true_zones", score["in_true_zones"], at_least(0.78), 3)
    figure("danis/moving/delay_median", score["delay_median"], at_most(3.0), 1)
    return score


def events(program, data, folder, site):
    recordings = [(data / "sal" / "sightings" / f"{n}.jsonl.gz", data / "sal" / "events" / f"{n}.csv") for n in SAL]
    score = scored(data, "score_events.py", replayed(program, folder, site, "events", recordings))
    figure("sal/recall", score["recall"], at_least(0.75), 3)
    figure("sal/false_per_hour", score["false_per_hour"], at_most(20), 1)
    # Too early is as wrong as too late.
    figure("sal/delay_median", score["delay_median"], ("-2.0..2.0", lambda value: abs(value) <= 2.0), 1)
    figure("sal/time_in_true_state", score["time_in_true_state"], at_least(0.86), 3)
    return score


def position_table(scores):
    three = lambda score: " / ".join(f"{score[k]:.2f}" for k in ("mean", "median", "p90"))
    rows = []
    for learned in ("survey", "alone"):
        cells = [three(scores[name, learned]) if (name, learned) in scores else "not measured" for name in TRACKS]
        rows.append([f"beaconfence, {WITH[learned]}", *cells])
    rows += [[f"plain: {method}", *figures] for method, *figures in quoted.POSITIONS]
    rows += [[f"study: {method}", *figures] for method, *figures in quoted.STUDY]
    table(
        "Positions: mean / median / p90 of the error, m", ["", "danis", "kolakowski"], rows, quoted.POSITIONS_NOTE
    )


def zone_table(standing, walking):
    def ours(name, score):
        return [name, f"{score['false']:.0f}", f"{score['false_per_hour']:.2f}", f"{score['in_true_zones']:.1%}"]

    rows = [
        [*ours("beaconfence, standing still, survey-apart", standing), ""],
        [*ours("beaconfence, moving, survey", walking), f"{walking['delay_median']:.1f} s"],
        *quoted.ZONES,
    ]
    head = ["", "false", "false an hour", "in the true zones", "median delay"]
    table("Zones, danis: false changes and time in the true zones", head, rows, quoted.ZONES_NOTE)


def sal_table(score):
    ours = [
        "beaconfence, site directory alone", f"{score['time_in_true_state']:.0%}",
        f"{score['found']:.0f} of {score['true']:.0f}", f"{score['false_per_hour']:.0f}",
        f"{score['delay_median']:.1f} s",
    ]
    head = ["", "in the true state", "found", "false an hour", "median delay"]
    table("Entered and exited, sal", head, [ours, *quoted.EVENTS], quoted.EVENTS_NOTE)
