"""The simulated store: a site directory of 24 by 18 m, four zones, and as many receivers as asked for."""

import json
import math

WIDTH, DEPTH = 24.0, 18.0
ORIGIN = (48.8566, 2.3522)
CUSTOMERS = 40

# Four zones of 10 by 7 m in the corners, aisles of 4 m between them. With five receivers `check` has no warning; with one
# it has, and the table shows what of.
ZONES = {
    "entrance": (0.0, 0.0, 10.0, 7.0),
    "bakery": (14.0, 0.0, 24.0, 7.0),
    "checkout": (0.0, 11.0, 10.0, 18.0),
    "household": (14.0, 11.0, 24.0, 18.0),
}

# Under the ceiling, where they would be put: one in the middle; three in a triangle without symmetry; the corners and the
# middle; a lattice.
HEIGHT = 2.8
RECEIVERS = {
    1: ((12.0, 9.0),),
    3: ((2.0, 2.0), (22.0, 3.0), (11.0, 16.5)),
    5: ((1.5, 1.5), (22.5, 1.5), (22.5, 16.5), (1.5, 16.5), (12.0, 9.0)),
    12: tuple((x, y) for y in (2.5, 9.0, 15.5) for x in (3.0, 9.0, 15.0, 21.0)),
}


def receiver(number):
    """The id of a receiver, counted from 0."""
    return f"receiver-{number + 1:02d}"


def make(folder, receivers):
    """Writes the site directory. Settings are the defaults: nothing is said about zones or radio."""
    folder.mkdir(parents=True)
    outline = [[0, 0], [WIDTH, 0], [WIDTH, DEPTH], [0, DEPTH]]
    site = [
        'id = "simulated"', 'time_zone = "Europe/Paris"',
        f"origin = {{ latitude = {ORIGIN[0]}, longitude = {ORIGIN[1]} }}",
        "[[level]]", "ordinal = 0", "elevation = 0.0", f"outline = {outline}",
    ]
    for number, (x, y) in enumerate(RECEIVERS[receivers]):
        site += ["[[receiver]]", f'id = "{receiver(number)}"', f"x = {x}", f"y = {y}", f"z = {HEIGHT}", "level = 0"]
    (folder / "site.toml").write_text("\n".join(site) + "\n", "utf-8")

    features = []
    for name, (west, south, east, north) in ZONES.items():
        ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        features.append({
            "type": "Feature", "properties": {"id": name, "level": 0},
            "geometry": {"type": "Polygon", "coordinates": [[wgs84(x, y) for x, y in ring]]},
        })
    (folder / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}), "utf-8")

    beacons, devices = ["id,identity,device,x,y,level,measured_power"], ["id,consent,labels"]
    for number in range(1, CUSTOMERS + 1):
        beacons.append(f"tag-{number:02d},mac:C0:FF:EE:00:00:{number:02X},shopper-{number:02d},,,,")
        devices.append(f"shopper-{number:02d},presence,")
    (folder / "beacons.csv").write_text("\n".join(beacons) + "\n", "utf-8")
    (folder / "devices.csv").write_text("\n".join(devices) + "\n", "utf-8")
    return folder


def wgs84(x, y):
    """Longitude and latitude of a point of the site frame, from the ellipsoid's radii at the origin; good to about a
    millimetre over a store."""
    a, f = 6378137.0, 1 / 298.257223563
    e2, s = f * (2 - f), math.sin(math.radians(ORIGIN[0]))
    north = a * (1 - e2) / (1 - e2 * s * s) ** 1.5
    east = a / math.sqrt(1 - e2 * s * s) * math.cos(math.radians(ORIGIN[0]))
    return [round(ORIGIN[1] + math.degrees(x / east), 10), round(ORIGIN[0] + math.degrees(y / north), 10)]


def zone_distance(zone, x, y):
    """How far outside the zone a point is, in metres; 0 inside. (The zones are rectangles.)"""
    west, south, east, north = ZONES[zone]
    return math.hypot(max(west - x, x - east, 0.0), max(south - y, y - north, 0.0))
