"""Generated stores: one for position reports, one for sightings. Distances are metres in the site frame."""

import json
import math

LATITUDE, LONGITUDE = 50.0, 8.0
_E2 = 0.00669437999014
_SIN2 = math.sin(math.radians(LATITUDE)) ** 2
_NORTH = math.pi / 180 * 6378137.0 * (1 - _E2) / (1 - _E2 * _SIN2) ** 1.5
_EAST = math.pi / 180 * 6378137.0 / math.sqrt(1 - _E2 * _SIN2) * math.cos(math.radians(LATITUDE))


def place(x, y):
    """Latitude and longitude."""
    return round(LATITUDE + y / _NORTH, 8), round(LONGITUDE + x / _EAST, 8)


def _rectangle(x0, y0, x1, y1):
    corners = [(x0, y0), (x1, y0), (x1, y1), (x0, y1), (x0, y0)]
    return {"type": "Polygon", "coordinates": [[list(reversed(place(x, y))) for x, y in corners]]}


def _zone(name, rectangle, **settings):
    properties = {"id": name, **({"level": 0} if rectangle else {}), **settings}
    return {"type": "Feature", "properties": properties, "geometry": _rectangle(*rectangle) if rectangle else None}


def write(directory, site_id, size, receivers, zones, devices, beacons=()):
    """A site directory. `size`: (width, depth) of its one level."""
    directory.mkdir(parents=True)
    text = f'id = "{site_id}"\nname = "Fault tests"\ntime_zone = "Europe/Berlin"\n'
    text += f"origin = {{ latitude = {LATITUDE}, longitude = {LONGITUDE}, bearing = 0.0 }}\n\n"
    outline = [[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]]
    text += f'[[level]]\nordinal = 0\nname = "Ground"\nelevation = 0.0\noutline = {outline}\n'
    for name, (x, y) in receivers.items():
        text += f'\n[[receiver]]\nid = "{name}"\nx = {float(x)}\ny = {float(y)}\nz = 2.5\nlevel = 0\n'
    (directory / "site.toml").write_text(text)
    (directory / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": zones}, indent=1))
    rows = [f"{name},{address},{device},,,,\n" for name, address, device in beacons]
    (directory / "beacons.csv").write_text("id,identity,device,x,y,level,measured_power\n" + "".join(rows))
    (directory / "devices.csv").write_text(
        "id,consent,labels,kind\n" + "".join(f"{device},presence,tier=gold,customer\n" for device in devices)
    )
    return directory


# --- the store for position reports: six zones in a row, one that covers three of them, and a corridor beside them

REPORTS = "faults-reports"
REPORTS_SIZE = (100, 30)
AISLES = [f"aisle-{n}" for n in range(6)]
CORRIDOR = (50.0, 25.0)


def middle(aisle):
    return 10.0 + 15.0 * aisle, 8.0


def write_reports_site(directory, devices, dwell=("1s", "3s"), metadata_bytes=0, vault=None):
    """Presence here follows from the reports alone: no hold times, and nothing is lost."""
    plain = {"enter_after": "0s", "exit_after": "0s", "lost_after": "7d"}
    if metadata_bytes:
        plain["metadata"] = {"filling": "x" * metadata_bytes}
    zones = [
        _zone(name, (x - 5, y - 5, x + 5, y + 5), **plain, **({} if name == vault else {"dwell": list(dwell)}))
        for n, name in enumerate(AISLES)
        for x, y in [middle(n)]
    ]
    zones.append(_zone("wide", (18, 1, 62, 15), **plain, dwell=["2s"]))
    zones.append(_zone("site", None, lost_after="7d"))
    receivers = {"r1": (5, 5), "r2": (50, 25), "r3": (95, 5)}
    return write(directory, REPORTS, REPORTS_SIZE, receivers, zones, devices)


# --- the store for sightings: four receivers around a hall; `hall` is all of it, `desk` a part

SIGHTINGS = "faults-sightings"
HALL_SIZE = (16, 16)
RECEIVERS = {"nw": (2, 14), "ne": (14, 14), "sw": (2, 2), "se": (14, 2)}


def beacon_address(number):
    return f"C2:00:00:00:{number >> 8:02X}:{number & 255:02X}"


def write_sightings_site(directory, devices, hall, site, desk=None):
    zones = [_zone("hall", (-1, -1, HALL_SIZE[0] + 1, HALL_SIZE[1] + 1), **hall), _zone("site", None, **site)]
    if desk:
        zones.append(_zone("desk", (0, 0, 8, HALL_SIZE[1]), **desk))
    beacons = [(f"b-{device}", f"mac:{beacon_address(n)}", device) for n, device in enumerate(devices)]
    return write(directory, SIGHTINGS, HALL_SIZE, RECEIVERS, zones, devices, beacons)


def sightings(rng, number, x, y):
    """What the receivers hear of a beacon at that place, once."""
    lines = []
    for name, (rx, ry) in RECEIVERS.items():
        distance = math.hypot(x - rx, y - ry, 1.5)
        rssi = -59 - 22.5 * math.log10(max(distance, 0.5)) + rng.gauss(0, 1.0)
        lines.append({"receiver": name, "address": beacon_address(number).lower(), "address_type": "random", "rssi": round(rssi)})
    return lines
