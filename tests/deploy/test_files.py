"""The files of deploy/ that other programs read, by those programs where they can be had, and by what they name."""

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import yaml

TOP = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
DEPLOY = TOP / "deploy"

# What /metrics says, with the labels of each, as docs/monitoring.md lists them; the two labels of all come from the scrape.
ROW = re.compile(r"^\| `([a-z]\w+)(?:\{([\w, ]+)\})?` \|", re.M)


def documented():
    text = (TOP / "docs" / "monitoring.md").read_text()
    return {name: set(filter(None, (labels or "").replace(" ", "").split(","))) for name, labels in ROW.findall(text)}


def promtool(*arguments, **more):
    ended = subprocess.run(["promtool", *arguments], capture_output=True, text=True, timeout=60, **more)
    return ended.returncode, ended.stdout + ended.stderr


class Monitoring(unittest.TestCase):
    def setUp(self):
        self.dir = Path(tempfile.mkdtemp(prefix="beaconfence-monitoring."))
        self.addCleanup(shutil.rmtree, self.dir)
        for file in [*(DEPLOY / "prometheus").iterdir(), HERE / "alerts_test.yml"]:
            shutil.copy(file, self.dir)
        # The secret that the settings name.
        (self.dir / "beaconfence.token").write_text("secret")

    def test_prometheus_takes_the_settings(self):
        code, said = promtool("check", "config", "prometheus.yml", cwd=self.dir)
        self.assertEqual(code, 0, said)

    def test_the_rules_fire_when_they_must_and_only_then(self):
        code, said = promtool("test", "rules", "alerts_test.yml", cwd=self.dir)
        self.assertEqual(code, 0, said)

    def test_every_rule_is_tried_and_documented(self):
        rules = {
            rule["alert"]
            for group in yaml.safe_load((self.dir / "alerts.yml").read_text())["groups"]
            for rule in group["rules"]
        }
        tested = {
            case["alertname"]
            for test in yaml.safe_load((self.dir / "alerts_test.yml").read_text())["tests"]
            for case in test["alert_rule_test"]
            if case.get("exp_alerts")
        }
        self.assertEqual(rules, tested)
        page = (TOP / "docs" / "monitoring.md").read_text()
        self.assertEqual([rule for rule in sorted(rules) if f"`{rule}`" not in page], [])

    def expressions(self):
        for group in yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]:
            for rule in group["rules"]:
                yield rule["alert"], rule["expr"]
        for panel in json.loads((DEPLOY / "grafana" / "beaconfence.json").read_text())["panels"]:
            for target in panel["targets"]:
                yield panel["title"], target["expr"]

    def test_names_and_labels_are_those_of_the_gateway(self):
        metrics = documented()
        self.assertGreater(len(metrics), 20)
        for where, expression in self.expressions():
            names = re.findall(r"\b(?:beaconfence|process)_\w+\b", expression)
            self.assertTrue(names or re.search(r"\bup\b", expression), where)
            for name in names:
                self.assertIn(name, metrics, f"{where}: {name} is not in docs/monitoring.md")
            for name, matchers in re.findall(r"\b((?:beaconfence|process)_\w+)\{([^}]*)\}", expression):
                labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", matchers))
                self.assertLessEqual(labels, metrics[name] | {"job", "store", "instance"}, f"{where}: labels of {name}")

    def test_each_metric_is_shown_or_watched(self):
        used = " ".join(expression for _, expression in self.expressions())
        self.assertEqual([name for name in documented() if not re.search(rf"\b{name}\b", used)], [])

    def test_grafanas_expressions_parse(self):
        board = json.loads((DEPLOY / "grafana" / "beaconfence.json").read_text())
        rules = [
            {
                "record": f"panel:{panel['id']}:{target['refId'].lower()}",
                "expr": target["expr"].replace("$__rate_interval", "5m"),
            }
            for panel in board["panels"]
            for target in panel["targets"]
        ]
        (self.dir / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
        code, said = promtool("check", "rules", "panels.yml", cwd=self.dir)
        self.assertEqual(code, 0, said)
        self.assertIn(f"SUCCESS: {len(rules)} rules found", said)

    def test_grafanas_panels_lie_side_by_side(self):
        board = json.loads((DEPLOY / "grafana" / "beaconfence.json").read_text())
        ids = [panel["id"] for panel in board["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        taken = {}
        for panel in board["panels"]:
            at = panel["gridPos"]
            self.assertLessEqual(at["x"] + at["w"], 24, panel["title"])
            for cell in ((x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])):
                self.assertNotIn(cell, taken, f"{panel['title']} lies on {taken.get(cell)}")
                taken[cell] = panel["title"]
        variables = {variable["name"] for variable in board["templating"]["list"]}
        self.assertEqual(
            set(re.findall(r"\$\{?(\w+)", json.dumps(board))) - variables - {"__rate_interval", "__all"}, set()
        )


class Container(unittest.TestCase):
    """No image can be built here; this is what can be known without."""

    def setUp(self):
        self.compose = yaml.safe_load((DEPLOY / "container" / "compose.yaml").read_text())

    def test_what_is_mounted_is_there_or_is_the_hosts(self):
        for name, service in self.compose["services"].items():
            for volume in service["volumes"]:
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((DEPLOY / "container" / source).is_file(), f"{name}: {source}")
                elif source.startswith("/"):
                    self.assertEqual(source, "/run/dbus/system_bus_socket")
                else:
                    self.assertIn(source, self.compose["volumes"])

    def test_the_gateway_has_no_rights_but_the_bus(self):
        gateway = self.compose["services"]["gateway"]
        self.assertEqual(gateway["cap_drop"], ["ALL"])
        self.assertTrue(gateway["read_only"])
        self.assertNotIn("privileged", gateway)
        self.assertNotIn("network_mode", gateway)
        self.assertEqual((DEPLOY / "container" / gateway["build"]["context"]).resolve(), TOP)
        self.assertTrue((TOP / gateway["build"]["dockerfile"]).is_file())

    def test_the_recipe_copies_what_is_there_and_ends_without_root(self):
        lines = re.sub(r"\\\n", " ", (DEPLOY / "container" / "Containerfile").read_text()).splitlines()
        steps = [line.split(None, 1) for line in lines if line and not line.startswith("#")]
        known = {"FROM", "WORKDIR", "COPY", "RUN", "ARG", "USER", "VOLUME", "ENTRYPOINT", "CMD"}
        self.assertEqual({step[0] for step in steps} - known, set())
        for _, what in (step for step in steps if step[0] == "COPY" and "--from" not in step[1]):
            for source in what.split()[:-1]:
                self.assertTrue((TOP / source).exists(), source)
        self.assertEqual([what for name, what in steps if name == "USER"], ["beaconfence"])
        for name, what in steps:
            if name in ("ENTRYPOINT", "CMD"):
                self.assertIsInstance(json.loads(what), list)

    def test_the_gateways_settings_pass_check(self):
        with tempfile.TemporaryDirectory() as there:
            text = (DEPLOY / "container" / "gateway.toml").read_text().replace("/var/lib/beaconfence", there)
            (Path(there) / "gateway.toml").write_text(text)
            ended = subprocess.run(
                [os.environ["BEACONFENCE_BIN"], "check", "--config", f"{there}/gateway.toml"],
                capture_output=True,
                text=True,
                timeout=20,
            )
        self.assertEqual(ended.returncode, 0, ended.stderr)

    def test_mosquitto_takes_its_settings(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with tempfile.TemporaryDirectory() as there:
            text = (DEPLOY / "container" / "mosquitto.conf").read_text()
            text = text.replace("listener 1883", f"listener {port} 127.0.0.1").replace("/mosquitto/data/", f"{there}/")
            (Path(there) / "broker.conf").write_text(text + "user root\n")
            broker = subprocess.Popen(
                [shutil.which("mosquitto") or "/usr/sbin/mosquitto", "-c", f"{there}/broker.conf"],
                stderr=subprocess.DEVNULL,
            )
            try:
                limit = time.monotonic() + 10
                code = 1
                while code and time.monotonic() < limit and broker.poll() is None:
                    code = subprocess.run(
                        ["mosquitto_pub", "-p", str(port), "-t", "x", "-m", "x", "-q", "1"],
                        capture_output=True,
                        timeout=10,
                    ).returncode
                self.assertEqual(code, 0)
            finally:
                broker.terminate()
                broker.wait(10)


class Workflows(unittest.TestCase):
    def test_they_parse_and_run_what_is_there(self):
        files = sorted((TOP / ".github" / "workflows").iterdir())
        self.assertEqual([file.name for file in files], ["ci.yml", "release.yml"])
        for file in files:
            workflow = yaml.safe_load(file.read_text())
            self.assertIn(True, workflow, "YAML reads the key `on` as true")
            for name, job in workflow["jobs"].items():
                self.assertIn("runs-on", job, name)
                for step in job["steps"]:
                    self.assertEqual(len({"run", "uses"} & set(step)), 1, step)
                    for program in re.findall(r"(?:^|\s)((?:\.ci|deploy|tests)/[\w/.-]+)", step.get("run", "")):
                        self.assertTrue(os.access(TOP / program, os.X_OK) or "bash " + program in step["run"], program)
                for needed in job.get("needs", []):
                    self.assertIn(needed, workflow["jobs"])

    def test_the_release_uses_the_cargo_deb_that_is_tested(self):
        tested = re.search(r"^cargo_deb_version=(.+)$", (TOP / "tests/package/prepare.sh").read_text(), re.M)[1]
        used = set(re.findall(r"cargo-deb@([\d.]+)", (TOP / ".github/workflows/release.yml").read_text()))
        self.assertEqual(used, {tested})
