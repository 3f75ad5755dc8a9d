#!/usr/bin/env python3
"""Makes a sightings file of a story.

usage: tell.py DIR [--without-outages] > sightings.jsonl

DIR is a site directory with a story.txt: one happening a line, in the store's own time.

    place hall 15 10                            a place that is no zone, in metres of the site frame
    2026-03-02 10:00 d1 door 2m, hall 30s       the device reports its position from there for so long, then from the next
    2026-03-02 10:00 attributes d1 {"cart": 5}  the back end says this of the device
    2026-03-02 09:55 shelves 1h                 the receivers r1 and r2 hear the fixed beacons of beacons.csv that have a MAC address
    2026-03-02 10:00 deaf r2 40m                that receiver hears nothing meanwhile
    # a comment

A device that is somewhere reports every two seconds, give or take half a metre, from the very second that is written. After the last
place it is silent: 60 seconds later it is lost. The same story gives the same file.
"""

import csv
import datetime
import json
import math
import pathlib
import random
import re
import sys
import tomllib
import zoneinfo

STEP = 2
ACCURACY = 0.8
UNITS = {"s": 1, "m": 60, "h": 3600}
HEARERS = ("r1", "r2")


class Fault(Exception):
    """The story cannot be told."""


def seconds(text):
    if not re.fullmatch(r"(\d+[smh])+", text):
        raise Fault(f"{text} is no duration")
    return sum(int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smh])", text))


def instant(millis):
    at = datetime.datetime.fromtimestamp(millis // 1000, datetime.timezone.utc)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{millis % 1000:03}Z"


class Store:
    """What a story needs to know of its store."""

    def __init__(self, directory):
        site = tomllib.loads((directory / "site.toml").read_text())
        self.id, self.name = site["id"], site["name"]
        self.zone = zoneinfo.ZoneInfo(site["time_zone"])
        self.origin = site["origin"]
        self.places = {}
        for feature in json.loads((directory / "zones.geojson").read_text())["features"]:
            if feature["geometry"]:
                corners = feature["geometry"]["coordinates"][0][:-1]
                longitude, latitude = (sum(axis) / len(corners) for axis in zip(*corners))
                self.places[feature["properties"]["id"]] = latitude, longitude
        with open(directory / "beacons.csv", newline="") as file:
            identities = [row["identity"] for row in csv.DictReader(file)]
        self.beacons = [identity.removeprefix("mac:").lower() for identity in identities if identity.startswith("mac:")]
        with open(directory / "devices.csv", newline="") as file:
            self.devices = {row["id"] for row in csv.DictReader(file)}

    def at(self, day, time):
        """Milliseconds since 1970 of that time on the store's clock; a time that the clock skips or shows twice is a fault."""
        local = datetime.datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=self.zone)
        if local.utcoffset() != local.replace(fold=1).utcoffset():
            raise Fault(f"the clock shows {day} {time} twice, or never")
        return round(local.timestamp() * 1000)

    def metres(self):
        """Metres of a degree of latitude and of longitude, on WGS84."""
        a, e2, latitude = 6_378_137.0, 6.69437999014e-3, math.radians(self.origin["latitude"])
        w = math.sqrt(1 - e2 * math.sin(latitude) ** 2)
        return math.radians(a * (1 - e2) / w**3), math.radians(a / w * math.cos(latitude))

    def put(self, name, x, y):
        north, east = self.metres()
        self.places[name] = self.origin["latitude"] + y / north, self.origin["longitude"] + x / east


def tell(directory, outages=True):
    """The lines of the sightings file, in the order of their times."""
    store = Store(directory)
    north, east = store.metres()
    chance = random.Random(store.id)
    told, shelves, deaf = [], [], []
    for number, line in enumerate((directory / "story.txt").read_text().splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        try:
            if words[0] == "place":
                store.put(words[1], float(words[2]), float(words[3]))
                continue
            begin, what = store.at(words[0], words[1]), words[2]
            if what == "attributes":
                told.append((begin, {"time": instant(begin), "device": known(store, words[3]), "attributes": json.loads(" ".join(words[4:]))}))
            elif what == "shelves":
                shelves.append((begin, begin + 1000 * seconds(words[3])))
            elif what == "deaf":
                deaf.append((words[3], begin, begin + 1000 * seconds(words[4])))
            else:
                device = known(store, what)
                for stay in " ".join(words[3:]).split(","):
                    place, lasts = stay.split()
                    latitude, longitude = store.places[place]
                    for at in range(begin, begin + 1000 * seconds(lasts), 1000 * STEP):
                        off = [max(-0.5, min(0.5, chance.gauss(0, 0.2))) for _ in range(2)]
                        report = {"latitude": round(latitude + off[0] / north, 8), "longitude": round(longitude + off[1] / east, 8)}
                        told.append((at, {"time": instant(at), "device": device, **report, "accuracy": ACCURACY, "level": 0}))
                    begin += 1000 * seconds(lasts)
        except (Fault, KeyError, IndexError, ValueError) as error:
            raise SystemExit(f"{directory / 'story.txt'}:{number}: {error!r}") from error
    for begin, end in shelves:
        for at in range(begin, end, 1000 * STEP):
            for receiver in HEARERS:
                if outages and any(who == receiver and since <= at < until for who, since, until in deaf):
                    continue
                for beacon in store.beacons:
                    rssi = -60 + chance.randint(-2, 2)
                    told.append((at, {"time": instant(at), "receiver": receiver, "address": beacon, "address_type": "random", "rssi": rssi}))
    return [line for _, line in sorted(told, key=lambda one: one[0])]


def known(store, device):
    if device not in store.devices:
        raise Fault(f"{device} is not in devices.csv")
    return device


def main():
    arguments = sys.argv[1:]
    outages = "--without-outages" not in arguments
    rest = [argument for argument in arguments if argument != "--without-outages"]
    if len(rest) != 1 or rest[0].startswith("-"):
        raise SystemExit(__doc__)
    for line in tell(pathlib.Path(rest[0]), outages):
        print(json.dumps(line, ensure_ascii=False, separators=(",", ":")))


if __name__ == "__main__":
    main()
