"""A registry of 10,000 zones, 100,000 beacons and as many devices, through a gateway that runs: the import of the whole, pages of
its lists, and single changes while 1,000 sightings a second come in. A change is timed from the request to the answer, which
comes when it is in effect and on disk. Nothing is asked of the broker, and there is none."""

import argparse
import datetime
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BINARY = os.environ["BEACONFENCE"]
COLUMNS = 100  # zones in a row, each 2 m wide
PAGES = 60
CHANGES = 40
RATE = 1000  # sightings a second
HEARD = 200  # devices that are heard
UUID = "8f1c7d2e-5a43-4b0e-9d61-2c7be0a4f3d9"


def figure(name, measured, goal, unit):
    verdict = "met" if measured <= goal else "missed"
    print(f"registry/{name} measured={measured:.3g}{unit} goal={goal}{unit} {verdict}", flush=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_site(path, zones, devices):
    os.makedirs(path)
    rows = -(-zones // COLUMNS)
    width, height = 2 * COLUMNS, 2 * rows
    with open(f"{path}/site.toml", "w") as file:
        file.write('id = "bench"\ntime_zone = "Europe/Paris"\norigin = { latitude = 48.85, longitude = 2.35 }\n')
        file.write(f'[[level]]\nordinal = 0\noutline = [[0, 0], [{width}, 0], [{width}, {height}], [0, {height}]]\n')
        for number in range(20):
            x, y = width * (number % 5 + 0.5) / 5, height * (number // 5 + 0.5) / 4
            file.write(f'[[receiver]]\nid = "r{number}"\nx = {x}\ny = {y}\nlevel = 0\n')
    metre = 1 / 111_250  # degrees of latitude, near enough to keep the zones apart
    east = metre / 0.6585
    with open(f"{path}/zones.geojson", "w") as file:
        features = []
        for number in range(zones):
            x, y = 2.35 + 2 * (number % COLUMNS) * east, 48.85 + 2 * (number // COLUMNS) * metre
            ring = [[x, y], [x + 1.8 * east, y], [x + 1.8 * east, y + 1.8 * metre], [x, y + 1.8 * metre], [x, y]]
            features.append({
                "type": "Feature",
                "properties": {"id": f"zone-{number}", "name": f"Zone {number}", "level": 0},
                "geometry": {"type": "Polygon", "coordinates": [ring]},
            })
        json.dump({"type": "FeatureCollection", "features": features}, file)
    with open(f"{path}/devices.csv", "w") as file:
        file.write("id,consent,labels\n")
        file.writelines(f"device-{number},presence,tier=gold\n" for number in range(devices))
    with open(f"{path}/beacons.csv", "w") as file:
        file.write("id,identity,device,x,y,level,measured_power\n")
        file.writelines(
            f"beacon-{number},ibeacon:{UUID}/{number // 65536}/{number % 65536},device-{number},,,,\n"
            for number in range(devices)
        )


def feed(pipe, stop, sent):
    """RATE sightings a second, until it is told to stop."""
    began, count = time.monotonic(), 0
    try:
        while not stop.is_set():
            due = int((time.monotonic() - began) * RATE)
            lines = []
            for number in range(count, due):
                device = number % HEARD
                now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
                data = "0215" + UUID.replace("-", "") + f"{0:04x}{device:04x}c5"
                lines.append(json.dumps({
                    "time": now.replace("+00:00", "Z"), "receiver": f"r{number // HEARD % 20}", "rssi": -60 - number % 20,
                    "manufacturer_data": {"004c": data},
                }) + "\n")
            if lines:
                pipe.write("".join(lines).encode())
                pipe.flush()
                count = due
                sent[0] = count
            time.sleep(0.005)
    except BrokenPipeError:
        pass


class Api:
    def __init__(self, port, token):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method, path, body=None, wanted=(200, 201), more=None):
        """The answer, and how long it took in milliseconds. The limit of requests in a while is waited for, and not timed."""
        while True:
            began = time.perf_counter()
            self.connection.request(method, path, body and json.dumps(body), self.headers | (more or {}))
            answer = self.connection.getresponse()
            text = answer.read()
            took = (time.perf_counter() - began) * 1e3
            if answer.status == 429:
                time.sleep(float(answer.headers.get("Retry-After", 1)))
                continue
            if answer.status not in wanted:
                sys.exit(f"{method} {path}: {answer.status} {text[:500]!r}")
            return json.loads(text), took


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--zones", type=int, default=10_000)
    parser.add_argument("--devices", type=int, default=100_000)
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="beaconfence-bench-")
    gateway = None
    try:
        write_site(f"{work}/site", args.zones, args.devices)
        port = free_port()
        with open(f"{work}/gateway.toml", "w") as file:
            file.write(f'id = "bench"\n[http]\nlisten = ["127.0.0.1:{port}"]\n')
            file.write(f'[mqtt]\nbrokers = ["mqtt://127.0.0.1:{free_port()}"]\n')
        log = open(f"{work}/log", "w")
        gateway = subprocess.Popen(
            [BINARY, "run", "--config", f"{work}/gateway.toml", "--sightings", "-"], stdin=subprocess.PIPE, stderr=log
        )
        for _ in range(100):
            if os.path.exists(f"{work}/data/api.sock"):
                break
            time.sleep(0.1)
        command = lambda *words: subprocess.run(
            [BINARY, *words, "--config", f"{work}/gateway.toml"], check=True, capture_output=True, text=True
        ).stdout

        began = time.monotonic()
        command("apply", f"{work}/site", "--yes")
        figure("import", time.monotonic() - began, 20, "s")

        api = Api(port, command("token", "add", "bench", "--role", "admin").strip())
        for kind in ("zones", "beacons", "devices"):
            took, cursor = [], None
            for _ in range(PAGES):
                page, ms = api.ask("GET", f"/api/v1/{kind}?limit=100" + (f"&cursor={cursor}" if cursor else ""))
                took.append(ms)
                cursor = page["next"]
            wanted = args.zones if kind == "zones" else args.devices
            if page["total"] < wanted:
                sys.exit(f"{kind}: {page['total']} are listed, not {wanted}")
            print(f"# {kind}: a page of 100 takes {statistics.median(took):.1f} ms, the slowest of {PAGES} {max(took):.1f} ms")
            figure(f"page-of-{kind}", max(took), 100, "ms")

        stop, sent = threading.Event(), [0]
        feeding = threading.Thread(target=feed, args=(gateway.stdin, stop, sent))
        feeding.start()
        time.sleep(5)
        for kind in ("device", "beacon", "zone"):
            took = []
            for number in range(CHANGES):
                if kind == "device":
                    body = {"id": f"new-{number}", "kind": "staff"}
                elif kind == "beacon":
                    body = {"id": f"new-{number}", "identity": f"mac:C0:FF:EE:00:00:{number:02X}", "device": f"new-{number}"}
                else:
                    corner = 10 + number
                    ring = [[corner, 10], [corner + 3, 10], [corner + 3, 13], [corner, 13]]
                    body = {
                        "type": "Feature", "properties": {"id": f"new-{number}", "name": f"New {number}", "level": 0},
                        "shape_m": {"polygons": [[ring]]},
                    }
                _, ms = api.ask("PUT", f"/api/v1/{kind}s/new-{number}", body, more={"If-None-Match": "*"})
                took.append(ms)
                time.sleep(0.05)
            print(f"# {kind}: takes {statistics.median(took):.1f} ms, the slowest of {CHANGES} {max(took):.1f} ms")
            figure(f"registration-of-a-{kind}", max(took), 100, "ms")
        live, _ = api.ask("GET", "/api/v1/live")
        stop.set()
        feeding.join()
        if len(live["devices"]) < HEARD // 2:
            sys.exit(f"only {len(live['devices'])} of {HEARD} devices that are heard are somewhere: this was no load")
        status = open(f"/proc/{gateway.pid}/status").read()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        print(f"# {sent[0]} sightings were fed; {len(live['devices'])} devices are somewhere; {resident / 1024:.0f} MB resident")
        if gateway.poll() is not None:
            sys.exit("the gateway did not survive it")
    except BaseException:
        sys.stderr.write(open(f"{work}/log").read()[-2000:] if os.path.exists(f"{work}/log") else "")
        raise
    finally:
        if gateway:
            gateway.terminate()
            gateway.wait(20)
        shutil.rmtree(work, ignore_errors=True)


main()
