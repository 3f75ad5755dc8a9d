"""What `beaconfence firmware render` makes, each file before the tool that it is for. Started by `run`."""

import configparser
import csv
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import unittest

BINARY = os.environ["BEACONFENCE_BIN"]
MODULES = os.environ["BEACONFENCE_MODULES"]
OUT = pathlib.Path(os.environ["BEACONFENCE_OUT"]).resolve()
HERE = pathlib.Path(__file__).resolve().parent
STUB = HERE / "stub"

# A name that tries to break out of every language at once.
HOSTILE = "=1+1 */ int x; /* \"'$(touch pwned)`touch pwned`${1+1} <script>alert(1)</script> & %n \u202e \\"

UUID = "e2c56db5-dffb-48d2-b060-d0f5a71096e0"
# id, identity, device, x, y, level, measured_power
SENT = [
    ("shelf-a", f"ibeacon:{UUID}/1/258", "", "4", "5", "0", "-59"),
    ("Cart.7", "eddystone-uid:00010203040506070809/0a0b0c0d0e0f", "cart-7", "", "", "", "-64"),
    ("alt_1", "altbeacon:2f234454cf6d4a0fadf2f4911ba9ffa600010002", "", "20", "20", "0", ""),
]
OTHERS = [("tag", "mac:C0:FF:EE:00:00:01", "", "1", "1", "0", "")] + [
    (f"aisle-{number:02}-{'x' * number * 2}", f"ibeacon:{UUID}/65535/{number}", "", str(number), "3", "0", "")
    for number in range(25)
]
SITE_POWER = -61


def write_site(folder):
    folder.mkdir(parents=True)
    name = json.dumps(HOSTILE)
    (folder / "site.toml").write_text(
        f'id = "s"\nname = {name}\ntime_zone = "UTC"\norigin = {{ latitude = 0.0, longitude = 0.0, bearing = 0.0 }}\n'
        f"measured_power = {SITE_POWER}\n[[level]]\nordinal = 0\nname = {name}\nelevation = 0.0\n"
        '[[receiver]]\nid = "r1"\nx = 1.0\ny = 1.0\nz = 2.5\nlevel = 0\n'
    )
    ring = [[x / 111_319.49, y / 110_574.28] for x, y in [(0, 0), (9, 0), (9, 9), (0, 9), (0, 0)]]
    zone = {
        "type": "Feature",
        "properties": {"id": "z", "name": HOSTILE, "level": 0},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    }
    (folder / "zones.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [zone]}))
    (folder / "devices.csv").write_text("id,consent,labels,kind\ncart-7,,,asset\n")
    rows = "".join(",".join(row) + "\n" for row in SENT + OTHERS)
    (folder / "beacons.csv").write_text("id,identity,device,x,y,level,measured_power\n" + rows)


def run(*command, fails=False, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=300, **more)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def beaconfence(*arguments, **more):
    return run(BINARY, *arguments, **more)


def render(target, *beacons, options=(), **more):
    return beaconfence("firmware", "render", *beacons, "--target", target, "--site", OUT / "site", *options, **more)


def decoded(data):
    """The identity, as the registry writes it, and the power in advertising data, read by the gateway itself."""
    done = beaconfence("decode", input=json.dumps({"adv": data}) + "\n")
    answer = json.loads(done.stdout)
    assert answer["errors"] == [] and len(answer["frames"]) == 1, answer
    frame = answer["frames"][0]
    identity = {
        "ibeacon": lambda: f"ibeacon:{frame['uuid']}/{frame['major']}/{frame['minor']}",
        "eddystone-uid": lambda: f"eddystone-uid:{frame['namespace']}/{frame['instance']}",
        "altbeacon": lambda: f"altbeacon:{frame['id']}",
    }[frame["format"]]()
    return identity, frame["measured_power"]


def power_of(row):
    return int(row[6]) if row[6] else SITE_POWER


def setUpModule():
    write_site(OUT / "site")


class Esphome(unittest.TestCase):
    """The real ESPHome, kept from the network."""

    def esphome(self, *arguments, fails=False):
        # Whatever it would fetch it would fetch through this, where nobody answers.
        nowhere = {name: "http://127.0.0.1:9" for name in ("http_proxy", "https_proxy", "all_proxy")}
        environment = {**os.environ, **nowhere, "PYTHONPATH": MODULES}
        return run("/usr/bin/python3", "-B", "-m", "esphome", *arguments, env=environment, cwd=OUT, fails=fails)

    def test_it_takes_the_configuration_and_would_send_the_identity(self):
        options = ("--interval", 300, "--tx-power", -3, "--output", OUT / "esphome")
        row = SENT[0]
        render("esphome", row[0], options=options)
        file = OUT / "esphome" / "shelf-a.yaml"
        self.esphome("config", file)
        # The program that it would build.
        self.esphome("compile", "--only-generate", file)
        [main] = (OUT / "esphome" / ".esphome" / "build").glob("*/src/main.cpp")
        text = main.read_text()
        uuid = re.search(r"ESP32BLEBeacon\(\{([^}]*)\}\)", text) or self.fail(text)
        uuid = "".join(re.findall(r"0x([0-9A-Fa-f]{2})", uuid[1]))

        def said(name):
            return int(re.search(rf"->set_{name}\((-?\d+)\)", text)[1])

        self.assertEqual((said("min_interval"), said("max_interval")), (300, 300))
        self.assertIn("set_tx_power(ESP_PWR_LVL_N3)", text.replace("::", "").replace("esp_power_level_t", ""))
        # The component's own source says what goes before.
        source = (main.parent / "esphome/components/esp32_ble_beacon/esp32_ble_beacon.cpp").read_text()
        head = re.search(r"IBEACON_COMMON_HEAD = \{(.*?)\};", source, re.S)[1]
        head = "".join(f"{int(byte, 16):02x}" for byte in re.findall(r"0x([0-9A-Fa-f]{2})", head))
        self.assertEqual(len(head), 18, head)
        data = f"{head}{uuid}{said('major'):04x}{said('minor'):04x}{said('measured_power') & 0xff:02x}"
        self.assertEqual(decoded(data), (row[1], power_of(row)))

    def test_every_step_and_every_id_is_taken(self):
        folder = OUT / "esphome-all"
        ids = [row[0] for row in OTHERS if row[1].startswith("ibeacon:")][::6]
        render("esphome", *ids, options=("--interval", 20, "--tx-power", 9, "--output", folder))
        for power in (-12, -9, -6, 3, 6):
            render("esphome", "shelf-a", options=("--tx-power", power, "--output", folder / str(power)))
        files = sorted(folder.rglob("*.yaml"))
        self.assertEqual(len(files), len(ids) + 5)
        self.esphome("config", *files)

    def test_what_it_does_not_take_is_noticed_here(self):
        good = render("esphome", "shelf-a").stdout
        wrongs = [('"0dBm"', '"1dBm"'), ('"500ms"', '"5ms"'), ("major: 1", "major: 70000")]
        for number, (right, wrong) in enumerate(wrongs):
            self.assertIn(right, good)
            file = OUT / f"wrong-{number}.yaml"
            file.write_text(good.replace(right, wrong))
            self.esphome("config", file, fails=True)

    def test_other_identities_are_refused_with_a_way_out(self):
        for row in SENT[1:]:
            error = render("esphome", row[0], fails=True).stderr
            self.assertIn(f"esphome cannot send {row[1]}", error)
            self.assertIn("zephyr or linux", error)


class Zephyr(unittest.TestCase):
    """Its files before the tools that Zephyr uses; what stands in for Zephyr is in stub/README.md."""

    @classmethod
    def setUpClass(cls):
        cls.folder = OUT / "zephyr"
        options = ("--interval", 1000, "--tx-power", -8, "--output", cls.folder)
        render("zephyr", *(row[0] for row in SENT), options=options)

    def test_the_program_sends_the_identity(self):
        for row in SENT:
            app = self.folder / row[0]
            program = OUT / f"zephyr-{row[0]}"
            flags = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-I", STUB)
            run("cc", *flags, app / "src/main.c", STUB / "send.c", "-o", program)
            least, most, options, scan_response, data = run(program).stdout.split()
            # A second, from the identity address, with nothing to scan for.
            self.assertEqual((least, most, options, scan_response), ("1600", "1600", "4", "0"))
            self.assertEqual(decoded(data), (row[1], power_of(row)))
            failed = run(program, env={**os.environ, "STUB_FAILS": "1"}).stdout
            self.assertEqual(failed, "sleeps 10\nreboots 1\n")

    def test_the_header_can_be_read_by_itself(self):
        for row in SENT:
            check = OUT / "header.c"
            check.write_text('#include <zephyr/bluetooth/bluetooth.h>\n#include "beacon.h"\n#include "beacon.h"\n'
                             "extern const struct bt_data all[];\nconst struct bt_data all[] = { BEACON_DATA };\n")
            folders = ("-I", STUB, "-I", self.folder / row[0] / "src")
            run("cc", "-std=c11", "-fsyntax-only", "-Wall", "-Werror", *folders, check)

    def test_kconfig_takes_every_line(self):
        sys.path.insert(0, MODULES)
        import kconfiglib

        for dbm, name in [(4, "PLUS_4"), (0, "0"), (-8, "MINUS_8"), (-40, "MINUS_40")]:
            folder = OUT / f"zephyr-{dbm}"
            render("zephyr", "shelf-a", options=("--tx-power", dbm, "--output", folder))
            file = folder / "shelf-a" / "prj.conf"
            kconfig = kconfiglib.Kconfig(str(STUB / "Kconfig"), warn_to_stderr=False)
            # By default a name that is not known is passed over.
            kconfig.warn_assign_undef = True
            kconfig.load_config(str(file))
            self.assertEqual(kconfig.warnings, [])
            lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
            for line in lines:
                symbol, value = re.fullmatch(r"CONFIG_(\w+)=([yn])", line).groups()
                self.assertEqual(kconfig.syms[symbol].str_value, value, line)
            self.assertEqual(kconfig.syms[f"BT_CTLR_TX_PWR_{name}"].str_value, "y")
            self.assertEqual(kconfig.syms["UART_CONSOLE"].str_value, "n")
            # It is noticed here.
            wrong = OUT / "wrong.conf"
            wrong.write_text(file.read_text().replace("CONFIG_REBOOT", "CONFIG_REBOOOT"))
            kconfig.load_config(str(wrong))
            self.assertIn("REBOOOT", "".join(kconfig.warnings))

    def test_the_overlay_applies(self):
        whole = OUT / "whole.dts"
        whole.write_text(f'#include "{STUB / "base.dts"}"\n#include "{self.folder / "shelf-a" / "app.overlay"}"\n')
        text = run("cpp", "-nostdinc", "-undef", "-x", "assembler-with-cpp", "-P", "-I", STUB, whole).stdout
        tree = OUT / "whole.dtb"
        done = run("dtc", "-I", "dts", "-O", "dtb", "-o", tree, "-", input=text)
        self.assertEqual(done.stderr, "")

        def get(node, name, *more, fails=False):
            return run("fdtget", *more, tree, node, name, fails=fails).stdout.strip()

        for node in ("uart@40002000", "i2c@40003000", "spi@40004000", "adc@40007000"):
            self.assertEqual(get(f"/soc/{node}", "status"), "disabled")
        self.assertEqual(get("/soc/radio@40001000", "status"), "okay")
        self.assertEqual(get("/soc/regulator@40000578", "regulator-initial-mode"), "1")
        get("/chosen", "zephyr,console", fails=True)
        get("/chosen", "zephyr,flash")


# Notes what it is told; as the real one it ends at once where its standard input has ended.
FAKE_BTMGMT = r"""#!/usr/bin/python3
import os, select, sys
ready, _, _ = select.select([0], [], [], 0.05)
if ready and not os.read(0, 1):
    sys.exit(9)
words = sys.argv[1:]
open(os.environ["SAID"], "a").write(" ".join(words) + "\n")
refused = os.environ.get("REFUSED")
if refused and refused in words:
    print("failed with status 0x0d (Not Supported)")
    sys.exit(1)
"""


class Linux(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = OUT / "linux"
        options = ("--interval", 200, "--tx-power", 4, "--output", cls.folder)
        render("linux", *(row[0] for row in SENT), options=options)
        cls.tools = OUT / "tools"
        cls.tools.mkdir()
        (cls.tools / "btmgmt").write_text(FAKE_BTMGMT)
        (cls.tools / "btmgmt").chmod(0o755)

    def start(self, row, *arguments, fails=False, **more):
        said = OUT / "said"
        said.unlink(missing_ok=True)
        environment = {**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}", "SAID": str(said), **more}
        script = self.folder / row[0] / "beaconfence-beacon"
        # As a service has it: nothing to read from.
        done = run(script, *arguments, env=environment, stdin=subprocess.DEVNULL, fails=fails)
        return done, said.read_text().splitlines() if said.exists() else []

    def test_scripts_and_services_are_sound(self):
        for row in SENT:
            folder = self.folder / row[0]
            run("shellcheck", folder / "beaconfence-beacon")
            self.assertTrue(os.access(folder / "beaconfence-beacon", os.X_OK))
            # The unit with its program where it is now.
            unit = OUT / "beaconfence-beacon.service"
            text = (folder / "beaconfence-beacon.service").read_text()
            self.assertIn("/usr/local/sbin/beaconfence-beacon start", text)
            unit.write_text(text.replace("/usr/local/sbin/beaconfence-beacon", str(folder / "beaconfence-beacon")))
            done = run("systemd-analyze", "verify", "--man=no", unit)
            # It also tells of what lacks on this computer, such as bluetooth.service; that is not about this unit.
            about = [line for line in done.stderr.splitlines() if "beaconfence" in line]
            self.assertEqual(about, [])

    def test_what_the_controller_is_told_is_the_identity(self):
        for row in SENT:
            _, said = self.start(row, "start", HCI="hci2", INSTANCE="3")
            data = re.fullmatch(r"--index 2 add-ext-adv-data -d ([0-9a-f]+) 3", said[-1])[1]
            self.assertEqual(decoded(data), (row[1], power_of(row)))
            self.assertLessEqual(len(data), 62)
            self.assertEqual(said[:-1], [
                "--index 2 le on",
                "--index 2 connectable off",
                "--index 2 power on",
                "--index 2 rm-adv 3",
                "--index 2 add-ext-adv-params -r 320 -x 320 -w 4 3",
            ])

    def test_old_kernels_send_at_their_own_interval(self):
        done, said = self.start(SENT[0], "start", REFUSED="add-ext-adv-params")
        self.assertIn("interval and power cannot be set", done.stderr)
        self.assertRegex(said[-1], r"--index 0 add-adv -d [0-9a-f]+ 1")

    def test_it_stops_also_where_nothing_was_sent(self):
        _, said = self.start(SENT[0], "stop", REFUSED="rm-adv")
        self.assertEqual(said, ["--index 0 rm-adv 1"])

    def test_it_starts_again_where_nothing_was_sent(self):
        _, said = self.start(SENT[0], "start", REFUSED="rm-adv")
        self.assertIn("add-ext-adv-data", said[-1])

    def test_what_goes_wrong_is_said(self):
        done, _ = self.start(SENT[0], "start", REFUSED="le", fails=True)
        self.assertIn("the controller hci0 does not answer", done.stderr)
        done, _ = self.start(SENT[0], "start", REFUSED="power", fails=True)
        self.assertIn("rfkill", done.stderr)
        for wrong in ({"HCI": "hci0; id"}, {"HCI": "eth0"}, {"INSTANCE": "0"}, {"INSTANCE": "1 2"}):
            done, said = self.start(SENT[0], "start", fails=True, **wrong)
            self.assertIn("it must be", done.stderr)
            self.assertEqual(said, [])
        self.start(SENT[0], "restart", fails=True)


class Sheet(unittest.TestCase):
    def test_it_holds_every_beacon_and_no_formula(self):
        text = render("sheet", options=("--battery", "cr2477")).stdout
        rows = list(csv.DictReader(text.splitlines()))
        self.assertEqual({row["id"]: row["identity"] for row in rows}, {row[0]: row[1] for row in SENT + OTHERS})
        by_id = {row["id"]: row for row in rows}
        self.assertEqual(by_id["shelf-a"]["firmware"], "esphome zephyr linux")
        self.assertEqual(by_id["Cart.7"]["device"], "cart-7")
        self.assertEqual(by_id["Cart.7"]["firmware"], "zephyr linux")
        self.assertEqual(by_id["tag"]["firmware"], "")
        self.assertIn("script", by_id["shelf-a"]["zones"])
        for row in rows:
            for name, cell in row.items():
                is_number = re.fullmatch(r"-?[0-9.]*", cell)
                self.assertTrue(is_number or cell.lstrip()[:1] not in tuple("=+-@"), (name, cell))
            self.assertGreater(float(row["battery_days"]), 365)


class Labels(unittest.TestCase):
    """The labels as a browser prints them, read by another program than the one that drew them."""

    @classmethod
    def setUpClass(cls):
        cls.folder = OUT / "labels"
        render("labels", options=("--output", cls.folder))

    def picture(self, page):
        picture = page.with_suffix(".png")
        # 794 × 1123 px are A4 at 96 dpi; twice that is less than any printer does.
        run(shutil.which("chromium"), "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
            "--window-size=794,1123", "--force-device-scale-factor=2", f"--user-data-dir={OUT / 'browser'}",
            f"--screenshot={picture}", page.as_uri())
        return picture

    def test_codes_are_the_registry(self):
        pages = sorted(self.folder.glob("labels-*.svg"))
        self.assertEqual([page.name for page in pages], ["labels-1.svg", "labels-2.svg"])
        everything = sorted(SENT + OTHERS)
        for page, rows in zip(pages, (everything[:21], everything[21:])):
            done = run("zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", self.picture(page))
            self.assertEqual(sorted(done.stdout.split()), sorted(row[1] for row in rows))


class Bluez(unittest.TestCase):
    """main.conf before the very bluetoothd."""

    # BlueZ 5.66 does not list these two in the table that it warns by, though it reads them.
    UNLISTED = {"ScanIntervalAdvMonitor", "ScanWindowAdvMonitor"}

    def bluetoothd(self, file):
        # Without a bus it ends as soon as it has read its configuration.
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={OUT}/nowhere"}
        done = subprocess.run(["/usr/libexec/bluetooth/bluetoothd", "-n", "-d", "-f", str(file)], env=environment,
                              capture_output=True, text=True, timeout=30)
        return done.stdout + done.stderr

    def test_it_is_read_to_the_last_key(self):
        file = OUT / "main.conf"
        file.write_text(beaconfence("firmware", "render", "--target", "bluez").stdout)
        said = self.bluetoothd(file)
        self.assertIn(f"parsing {file}", said)
        self.assertNotIn("cannot be interpreted", said)
        self.assertNotIn("nknown group", said)
        self.assertLessEqual(set(re.findall(r"Unknown key (\w+)", said)), self.UNLISTED)
        settings = configparser.ConfigParser(interpolation=None)
        settings.optionxform = str
        settings.read_string(file.read_text())
        for name, value in settings["LE"].items():
            self.assertRegex(said, rf"\b{name}={value}\({value}\)")
        self.assertIn("ControllerMode=le", said)
        self.assertEqual(settings["General"]["Experimental"], "true")

    def test_a_key_that_is_none_is_noticed_here(self):
        file = OUT / "wrong.conf"
        file.write_text("[General]\nControlerMode = le\n")
        self.assertIn("Unknown key ControlerMode", self.bluetoothd(file))


class Command(unittest.TestCase):
    def test_errors_say_what_to_do(self):
        for arguments, part in [
            (("shelf-b", "--target", "zephyr"), 'did you mean "shelf-a"?'),
            (("tag", "--target", "linux"), "the address is the chip's own"),
            (("shelf-a", "--target", "zephyr", "--interval", "10"), "20 to 10240 ms"),
            (("shelf-a", "--target", "esphome", "--tx-power", "4"), "it has -12, -9, -6, -3, 0, 3, 6, 9"),
            (("shelf-a", "--target", "esphome", "--battery", "cr2032"), "choose aa or usb"),
            (("shelf-a", "--target", "zephyr"), "these are 5 files; name a directory"),
            (("--target", "zephyr"), "name the beacons"),
        ]:
            done = beaconfence("firmware", "render", *arguments, "--site", OUT / "site", fails=True)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn(part, done.stderr)
        self.assertEqual(beaconfence("firmware", "render", "--target", "toaster", fails=True).returncode, 2)

    def test_a_short_interval_is_warned_of(self):
        done = render("linux", "alt_1", options=("--interval", 50, "--output", OUT / "short"))
        self.assertIn("before Bluetooth 5.0", done.stderr)

    def test_the_registry_of_a_data_directory_is_as_good(self):
        (OUT / "gateway.toml").write_text('id = "g"\ndata_dir = "data"\n[mqtt]\nbrokers = ["mqtt://127.0.0.1:9"]\n')
        gateway = ("--config", OUT / "gateway.toml")
        beaconfence("apply", OUT / "site", *gateway, "--yes")
        for target in ("sheet", "labels"):
            options = ("--output", OUT / "of-data")
            beaconfence("firmware", "render", "--target", target, *gateway, *options)
            render(target, options=("--output", OUT / "of-site"))
        files = sorted(path.name for path in (OUT / "of-data").iterdir())
        self.assertEqual(files, ["beacons-sheet.csv", "labels-1.svg", "labels-2.svg"])
        for name in files:
            self.assertEqual((OUT / "of-data" / name).read_text(), (OUT / "of-site" / name).read_text())

    def test_a_gateway_that_runs_is_asked(self):
        folder = OUT / "running"
        shutil.copytree(OUT / "site", folder / "site")
        (folder / "gateway.toml").write_text(
            'id = "g"\nsite = "site"\ndata_dir = "data"\n[mqtt]\nbrokers = ["mqtt://127.0.0.1:9"]\n'
            '[http]\nlisten = ["127.0.0.1:0"]\n'
        )
        command = [BINARY, "run", "--config", str(folder / "gateway.toml"), "--sightings", "-"]
        with open(folder / "log", "w", encoding="utf-8") as log:
            gateway = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            for _ in range(300):
                if "the web UI is on" in (folder / "log").read_text():
                    break
                self.assertIsNone(gateway.poll(), (folder / "log").read_text())
                time.sleep(0.1)
            asked = beaconfence("firmware", "render", "--target", "sheet", "--config", folder / "gateway.toml")
            self.assertEqual(asked.stdout, render("sheet").stdout)
        finally:
            gateway.terminate()
            gateway.wait(timeout=30)
            gateway.stdin.close()

    def test_the_page_shows_what_is_printed(self):
        page = (HERE.parent.parent / "docs" / "firmware.md").read_text()
        told = beaconfence("firmware", "plan", "shelf-a", "--site", OUT / "site").stdout
        self.assertIn(told.replace("/1/258", "/1/17"), page)

    def test_a_plan_chooses_and_compares(self):
        plan = ("firmware", "plan", "shelf-a", "--site", OUT / "site", "--within", "3", "--json")
        told = json.loads(beaconfence(*plan).stdout)
        self.assertEqual((told["beacon"], told["bytes"], told["battery"]), ("shelf-a", 30, "cr2032"))
        [chosen] = [row for row in told["intervals"] if row["chosen"]]
        self.assertLessEqual(chosen["entered_within_s"], 3)
        later = [row for row in told["intervals"] if row["interval_ms"] > chosen["interval_ms"]]
        self.assertTrue(later and all(row["entered_within_s"] > 3 for row in later))
        table = beaconfence("firmware", "plan", "--interval", "700", "--battery", "cr2477").stdout
        self.assertRegex(table, r"(?m)^\* +700 ms")
        self.assertIn("no interval does it", beaconfence("firmware", "plan", "--within", "0.5", fails=True).stderr)


if __name__ == "__main__":
    unittest.main()
