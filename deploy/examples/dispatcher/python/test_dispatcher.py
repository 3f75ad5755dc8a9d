"""python3 -m unittest, in this folder."""

import copy
import datetime
import json
import os
import pathlib
import tempfile
import threading
import unittest
import urllib.request

import archive
import channels
import dispatcher
import link
import metrics
import seen
import templates

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE / "../../../../docs"
SCHEMA = json.loads((DOCS / "schemas/trigger.json").read_text())
TRIGGER = json.loads((DOCS / "examples/trigger.json").read_text())
CARD = json.loads((DOCS / "examples/card.json").read_text())
NOW = datetime.datetime.fromisoformat(TRIGGER["data"]["decided_at"]).timestamp() + 1
EXPIRED = datetime.datetime.fromisoformat(TRIGGER["data"]["expires_at"]).timestamp()


class Channel:
    """Delivers after so many failures."""

    def __init__(self, *failures):
        self.failures, self.messages = list(failures), []

    def deliver(self, message):
        if self.failures:
            raise self.failures.pop(0)
        self.messages.append(message)


def payload(trigger, **data):
    changed = copy.deepcopy(trigger)
    changed["data"].update(data)
    return json.dumps(changed).encode()


class Case(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = pathlib.Path(directory.name)
        self.now = NOW
        self.said = []
        self.addCleanup(setattr, link, "say", link.say)
        link.say = self.said.append


class Dispatching(Case):
    def setUp(self):
        super().setUp()
        self.push, self.usual = Channel(), Channel()
        self.dispatcher = self.make({"push": self.push, "*": self.usual})

    def make(self, given, owner="one", backoff=(0.01, 0.02)):
        self.metrics = metrics.Metrics(dispatcher.METRICS)
        self.stop = threading.Event()
        remembered = seen.Seen(self.dir / "state", owner, 86_400, lambda: self.now)
        self.addCleanup(remembered.close)
        aside = dispatcher.Aside(str(self.dir / "aside"))
        return dispatcher.Dispatcher(
            SCHEMA, templates.Templates(HERE / "templates.json"), given, remembered, aside, self.metrics, self.stop, lambda: self.now, backoff
        )

    def skipped(self, reason):
        return f'dispatcher_skipped_total{{reason="{reason}"}} 1\n' in self.metrics.text()

    def aside(self):
        path = self.dir / "aside"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def test_delivers_each_once(self):
        self.assertTrue(self.dispatcher.trigger("t", payload(TRIGGER)))
        self.assertTrue(self.dispatcher.trigger("t", payload(TRIGGER)))
        self.assertEqual([one["title"] for one in self.push.messages], ["Second loaf at half price"])
        self.assertTrue(self.skipped("duplicate"))
        self.assertIn('dispatcher_delivered_total{campaign="engagement",channel="push"} 1\n', self.metrics.text())
        self.assertIn("dispatcher_delay_seconds_total 1.0\n", self.metrics.text())

    def test_remembers_over_a_restart(self):
        self.dispatcher.trigger("t", payload(TRIGGER))
        again = self.make({"push": self.push})
        self.assertTrue(again.trigger("t", payload(TRIGGER)))
        self.assertEqual(len(self.push.messages), 1)

    def test_one_key_is_one_message(self):
        self.dispatcher.trigger("t", payload(TRIGGER))
        other = dict(TRIGGER, id="11111111-1111-5111-8111-111111111111")
        self.assertTrue(self.dispatcher.trigger("t", payload(other)))
        self.assertEqual(len(self.push.messages), 1)
        self.assertTrue(self.skipped("duplicate_key"))

    def test_forgets_what_is_old(self):
        self.dispatcher.trigger("t", payload(TRIGGER))
        self.now += 2 * 86_400
        remembered = seen.Seen(self.dir / "state", "two", 86_400, lambda: self.now)
        self.addCleanup(remembered.close)
        self.assertEqual(remembered.claim(TRIGGER["id"], "any"), seen.FREE)

    def test_what_has_expired_is_not_delivered(self):
        self.now = EXPIRED
        self.assertTrue(self.dispatcher.trigger("t", payload(TRIGGER)))
        self.assertEqual(self.push.messages, [])
        self.assertTrue(self.skipped("expired"))
        self.assertEqual(self.aside(), [])

    def test_what_is_invalid_is_put_aside(self):
        for bad in (b"", b"{", b"\xff", b"[]", b'{"a":NaN}', b"[" * 100_000, payload(TRIGGER, data={"a": "\ud800"}), payload(TRIGGER, priority=5).replace(b'"data": {"headline"', b'"data": {"a": 1e999, "headline"'), payload(TRIGGER, priority=10), payload(TRIGGER, expires_at="2026-02-31T00:00:00.000Z")):
            self.assertTrue(self.dispatcher.trigger("t", bad))
        self.assertEqual([line["reason"] for line in self.aside()], ["invalid"] * 10)
        self.assertEqual(self.push.messages + self.usual.messages, [])

    def test_a_trial_of_rights_is_no_trigger(self):
        self.assertTrue(self.dispatcher.trigger("beaconfence/v1/s/triggers/_doctor/probe", b'{"type": "io.beaconfence.doctor.probe"}'))
        self.assertTrue(self.skipped("trial"))
        self.assertEqual((self.aside(), self.push.messages), ([], []))

    def test_unknown_fields_are_none_of_our_business(self):
        self.dispatcher.trigger("t", payload(dict(TRIGGER, newer=1), newer=[2]))
        self.assertEqual(len(self.push.messages), 1)

    def test_occupancy_has_no_device(self):
        occupancy = json.loads((DOCS / "examples/trigger-occupancy.json").read_text())
        self.dispatcher.trigger("t", payload(occupancy))
        self.assertNotIn("device", self.usual.messages[0])
        self.assertEqual((self.usual.messages[0]["channel"], self.usual.messages[0]["subject"]), ("staff", "checkout"))

    def test_a_channel_that_fails_is_tried_again(self):
        self.push.failures = [channels.Later("down")] * 3
        self.assertTrue(self.dispatcher.trigger("t", payload(TRIGGER)))
        self.assertEqual(len(self.push.messages), 1)
        self.assertIn('dispatcher_failed_attempts_total{channel="push"} 3\n', self.metrics.text())

    def test_is_not_dealt_with_while_the_channel_fails(self):
        self.push.failures = [channels.Later("down")] * 1000
        threading.Timer(0.1, self.stop.set).start()
        self.assertFalse(self.dispatcher.trigger("t", payload(TRIGGER)))
        again = self.make({"push": self.usual})
        self.assertTrue(again.trigger("t", payload(TRIGGER)))
        self.assertEqual(len(self.usual.messages), 1)

    def test_does_not_try_longer_than_it_is_of_use(self):
        class Slow(Channel):
            def deliver(_, message):
                self.now += 400
                raise channels.Later("down")

        self.assertTrue(self.make({"push": Slow()}).trigger("t", payload(TRIGGER)))
        self.assertTrue(self.skipped("expired"))

    def test_what_is_refused_for_good_is_put_aside_and_may_come_otherwise(self):
        self.push.failures = [channels.Never("status 400")]
        self.assertTrue(self.dispatcher.trigger("t", payload(TRIGGER)))
        self.assertEqual([line["reason"] for line in self.aside()], ["rejected"])
        other = dict(TRIGGER, id="11111111-1111-5111-8111-111111111111")
        self.dispatcher.trigger("t", payload(other))
        self.assertEqual(len(self.push.messages), 1)

    def test_the_first_channel_that_is_here_is_taken(self):
        given = {"sms": Channel(), "in-app": Channel()}
        self.assertEqual(channels.choose(given, ["push", "in-app", "sms"])[0], "in-app")
        self.assertEqual(channels.choose(given, [])[0], "sms")
        self.assertIsNone(channels.choose(given, ["push"]))
        self.assertEqual(channels.choose({**given, "*": Channel()}, ["push"])[0], "push")
        self.assertEqual(channels.choose({"*": Channel()}, [])[0], "default")

    def test_without_a_channel_it_is_put_aside(self):
        self.assertTrue(self.make({"sms": self.usual}).trigger("t", payload(TRIGGER, channels=["push"])))
        self.assertEqual([line["reason"] for line in self.aside()], ["unroutable"])

    def test_two_do_not_deliver_the_same(self):
        one = seen.Seen(self.dir / "shared", "one", 86_400, lambda: self.now)
        two = seen.Seen(self.dir / "shared", "two", 86_400, lambda: self.now)
        for remembered in (one, two):
            self.addCleanup(remembered.close)
        self.assertEqual(one.claim("a", "k"), seen.FREE)
        self.assertEqual(two.claim("a", "k"), seen.BUSY)
        self.assertEqual(two.claim("b", "k"), seen.BUSY)
        self.assertEqual(one.claim("a", "k"), seen.FREE, "of an earlier life")
        self.now += seen.LEASE
        self.assertEqual(two.claim("a", "k"), seen.FREE, "the other is gone")
        two.done("a", "k")
        self.assertEqual(one.claim("a", "k"), seen.DUPLICATE)
        self.assertEqual(one.claim("b", "k"), seen.DUPLICATE_KEY)

    def test_cards_are_shown_and_cleared_once(self):
        self.now = datetime.datetime.fromisoformat(CARD["data"]["decided_at"]).timestamp()
        topic = "beaconfence/v1/market-hall/cards/shopper-01/bakery-card"
        for content in (b"", payload(CARD), payload(CARD), b"", b""):
            self.assertTrue(self.dispatcher.card(topic, content))
        self.assertEqual([(one["card"], one["device"]) for one in self.usual.messages], [("shown", "shopper-01"), ("cleared", "shopper-01")])


class Words(Case):
    def rendered(self, campaign, **data):
        trigger = copy.deepcopy(TRIGGER)
        trigger["data"].update(campaign=campaign, data=data)
        return templates.Templates(HERE / "templates.json").render(trigger)

    def test_each_kind_of_campaign_has_words(self):
        bodies = set()
        for campaign in ("onboarding", "engagement", "abandonment", "cross-sell", "churn", "multichannel", "else"):
            title, body = self.rendered(campaign)
            self.assertTrue(title and body, campaign)
            self.assertNotRegex(title + body, "[{}|]")
            bodies.add((title, body))
        self.assertEqual(len(bodies), 7)

    def test_the_rule_has_the_first_word(self):
        self.assertEqual(self.rendered("abandonment", title="Hi", body="there"), ("Hi", "there"))
        self.assertEqual(self.rendered("abandonment")[1], "Waiting for you: Espresso beans, Croissants")

    def test_a_campaign_takes_the_template_of_its_kind(self):
        self.assertEqual(self.rendered("churn-2026"), self.rendered("churn"))
        self.assertEqual(self.rendered("churned"), self.rendered("else"))


class Scraped(unittest.TestCase):
    def test_prometheus_reads_it(self):
        made = metrics.Metrics({"a_total": ("counter", "A."), "b_total": ("counter", "B.", "x")})
        made.add("a_total")
        made.add("b_total", x='q"\n')
        port = made.serve(0)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            text = answer.read().decode()
        self.assertEqual(text, '# HELP a_total A.\n# TYPE a_total counter\na_total 1\n# HELP b_total B.\n# TYPE b_total counter\nb_total{x="q\\"\\n"} 1\n')


class Archiving(Case):
    def setUp(self):
        super().setUp()
        self.archive = archive.Archive(self.dir / "archive", lambda: self.now)
        self.addCleanup(self.archive.database.close)
        self.asked = []
        self.requests = archive.Requests(self.archive, lambda topic, text: self.asked.append((topic, json.loads(text))), "p", "me", lambda: self.now)

    def add(self, *sequences, epoch="e1", kind="entered", visit=None):
        for sequence in sequences:
            event = json.loads((DOCS / f"examples/presence-{kind}.json").read_text())
            event["data"].update(sequence=sequence, epoch=epoch, visit_id=visit or f"v{sequence}")
            event["id"] = f"{epoch}-{sequence}"
            self.archive.add(json.dumps(event).encode())

    def status(self, epoch):
        status = json.loads((DOCS / "examples/status.json").read_text())
        return self.archive.status(json.dumps(dict(status, epoch=epoch)).encode())

    def gaps(self, older_than_s=0):
        return [(epoch, first, last) for _, epoch, _, first, last in self.archive.gaps(older_than_s)]

    def done(self, asked, **more):
        done = {"site": "market-hall", "gateway": "gw-1", "epoch": "e1", "missing": [], "complete": True, "next_sequence": 0, **asked, **more}
        self.requests.done(json.dumps(done).encode())

    def test_sees_gaps_after_a_while(self):
        self.add(5, 7, 8, 12)
        self.assertEqual(self.gaps(60), [])
        self.now += 60
        self.add(20)
        self.assertEqual(self.gaps(60), [("e1", 6, 6), ("e1", 9, 11)])
        self.add(6, 9, 10, 11)
        self.archive.settle()
        self.assertEqual(self.gaps(), [("e1", 13, 19)])

    def test_asks_and_believes_what_is_lost(self):
        self.add(0, 5)
        self.requests.ask(*self.archive.gaps(0)[0])
        self.requests.ask(*self.archive.gaps(0)[0])
        self.assertEqual(self.asked, [("p/market-hall/gateways/gw-1/replay", {"from": 1, "to": 4, "reply_to": "market-hall/replays/me", "epoch": "e1"})])
        self.now += archive.ASK_AGAIN_S
        self.requests.ask(*self.archive.gaps(0)[0])
        self.assertEqual(len(self.asked), 2)
        self.add(3, 4)
        self.done({"from": 1, "to": 4}, missing=[[1, 2]], next_sequence=8)
        self.assertEqual(self.gaps(), [("e1", 6, 7)])

    def test_a_new_epoch_ends_the_older_one(self):
        self.add(10, 12, visit="a")
        self.add(13, kind="exited", visit="other")
        self.assertEqual(self.archive.database.execute("SELECT DISTINCT visit_id FROM open_visits").fetchall(), [("a",)])
        self.assertEqual(self.status("e2"), ("market-hall", "e2"))
        self.assertEqual(self.archive.database.execute("SELECT * FROM open_visits").fetchall(), [])
        self.add(2, epoch="e2")
        self.assertEqual(self.gaps(), [("e2", 0, 1)], "a new epoch is wanted from its begin, and nothing of the older one is")
        self.add(11)
        self.assertEqual(self.status("e2"), ("market-hall", "e2"))
        self.assertEqual(self.gaps(), [("e2", 0, 1)])

    def test_another_epoch_is_believed(self):
        self.add(0, 2)
        self.requests.ask(*self.archive.gaps(0)[0])
        self.done({"from": 1, "to": 1}, error="other_epoch", epoch="e9")
        self.assertEqual(self.gaps(), [])

    def test_an_exit_ends_a_visit(self):
        self.add(0, visit="a")
        self.add(1, kind="exited", visit="a")
        self.assertEqual(self.archive.database.execute("SELECT * FROM open_visits").fetchall(), [])

    def test_what_is_no_event_is_refused(self):
        for bad in (b"", b"[]", b'{"data":{}}', b'{"data":{"site":1}}', b"\xff", json.dumps(dict(TRIGGER, subject="\ud800")).encode()):
            with self.assertRaises(ValueError):
                self.archive.add(bad)


if __name__ == "__main__":
    os.chdir(HERE)
    unittest.main()
