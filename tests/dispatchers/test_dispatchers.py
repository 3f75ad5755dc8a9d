"""The dispatchers of deploy/examples against a real Mosquitto."""

import json
import random
import sqlite3
import threading
import time
import unittest

import support
from support import Case, Hook, Process, Proxy, example, rust_program, trigger, wait_for

# So long nothing more may come.
QUIET = 1.0


class Dispatching:
    """What every dispatcher does."""

    def dispatcher(self, name="one", *arguments, port=None):
        """Started, connected and subscribed."""
        started = self.start(
            "--broker", f"mqtt://127.0.0.1:{port or self.port}", "--client-id", name, "--state", f"{self.dir}/state-{name}",
            "--aside", f"{self.dir}/aside", "--metrics-port", "0", *arguments,
        )  # fmt: skip
        wait_for("it connects", lambda: started.said("connected"))
        log = self.dir / "broker.log"
        wait_for("it subscribes", lambda: f"Sending SUBACK to {name}" in log.read_text())
        return started

    def test_delivers_each_once_and_none_late(self):
        one = self.dispatcher()
        client = self.client()
        good = [trigger(), trigger(campaign="churn", channels=[]), trigger("trigger-occupancy"), trigger("card")]
        same_key = trigger(deduplication_key=good[0]["data"]["deduplication_key"])
        client.fire(*good, good[0], same_key, trigger(expires_in=-1))
        for bad in (b"{", b"\xff\xfe", {"id": "x"}, trigger(priority="high")):
            client.publish("market-hall/triggers/bakery-offer", bad)
        last = trigger()
        client.fire(last, good[1])
        wait_for("the last", lambda: last["id"] in one.ids())
        time.sleep(QUIET)
        self.assertEqual(one.ids(), [*(each["id"] for each in good), last["id"]])
        self.assertEqual(
            {key: value for key, value in one.metrics().items() if "total" in key and "delay" not in key},
            {
                "dispatcher_received_total": 13,
                'dispatcher_delivered_total{campaign="engagement",channel="push"}': 2,
                'dispatcher_delivered_total{campaign="churn",channel="default"}': 1,
                'dispatcher_delivered_total{campaign="operations",channel="staff"}': 1,
                'dispatcher_delivered_total{campaign="onboarding",channel="in-app"}': 1,
                'dispatcher_skipped_total{reason="duplicate"}': 2,
                'dispatcher_skipped_total{reason="duplicate_key"}': 1,
                'dispatcher_skipped_total{reason="expired"}': 1,
                'dispatcher_skipped_total{reason="invalid"}': 4,
            },
        )
        aside = [json.loads(line) for line in (self.dir / "aside").read_text().splitlines()]
        self.assertEqual([line["reason"] for line in aside], ["invalid"] * 4)
        self.assertEqual(one.metrics()["dispatcher_connected"], 1)
        one.stop()
        # All of it was acknowledged.
        again = self.dispatcher()
        time.sleep(QUIET)
        self.assertEqual((again.lines, again.metrics()["dispatcher_received_total"]), ([], 0))

    def test_says_it_in_the_words_of_the_campaign(self):
        one = self.dispatcher()
        sent = [trigger(campaign=campaign, data={}) for campaign in ("onboarding", "engagement", "abandonment", "cross-sell", "churn", "multichannel", "other")]
        sent.append(trigger(data={"title": "Hello", "body": "{facts.site.name}"}))
        self.client().fire(*sent)
        wait_for("all of them", lambda: len(one.lines) == len(sent))
        self.assertEqual(
            [(line["title"], line["body"]) for line in one.lines],
            [
                ("Welcome", "Market Hall: tap to see the map, your offers and how to pay without queueing."),
                ("Bakery", "Second loaf at half price"),
                ("Still in your basket", "Waiting for you: Espresso beans, Croissants"),
                ("Goes well with it", "Second loaf at half price"),
                ("We have not seen you for a while", "Market Hall: come by, a surprise is waiting for you"),
                ("Continue where you left off", "What you looked at online is here: Bakery"),
                ("Market Hall", "Second loaf at half price"),
                ("Hello", "{facts.site.name}"),
            ],
        )
        first, data = one.lines[0], sent[0]["data"]
        self.assertEqual(
            first,
            {
                "id": sent[0]["id"], "deduplication_key": data["deduplication_key"], "site": "market-hall", "trigger": "bakery-offer",
                "campaign": "onboarding", "priority": 5, "channel": "push", "device": "shopper-01", "subject": "shopper-01",
                "title": first["title"], "body": first["body"], "data": {}, "observed_at": data["observed_at"], "expires_at": data["expires_at"],
            },
        )  # fmt: skip

    def test_killed_before_the_acknowledgement_it_does_not_say_it_twice(self):
        proxy = Proxy(self.port)
        self.addCleanup(proxy.close)
        one = self.dispatcher("one", port=proxy.port)
        client = self.client()
        proxy.mute = True
        sent = [trigger() for _ in range(5)]
        client.fire(*sent)
        wait_for("all are delivered", lambda: len(one.lines) == 5)
        wait_for("the acknowledgements are on their way", lambda: proxy.swallowed >= 5 * 4)
        one.kill()
        proxy.mute = False
        again = self.dispatcher("one", port=proxy.port)
        more = trigger()
        client.fire(more)
        wait_for("what is new", lambda: again.ids() == [more["id"]])
        self.assertEqual(again.metrics()['dispatcher_skipped_total{reason="duplicate"}'], 5)
        self.assertEqual(one.ids(), [each["id"] for each in sent])
        again.stop()

    def test_killed_within_a_delivery_it_delivers_under_the_same_key(self):
        hook = Hook()
        self.addCleanup(hook.close)
        hook.held = threading.Event()
        one = self.dispatcher("one", "--channel", f"*=webhook:{hook.url}")
        sent = trigger()
        self.client().fire(sent)
        wait_for("it is delivered", lambda: hook.posts)
        one.kill()
        hook.held.set()
        hook.held = None
        again = self.dispatcher("one", "--channel", f"*=webhook:{hook.url}")
        wait_for("it is delivered again", lambda: len(hook.posts) == 2)
        self.assertEqual({key for key, _, _ in hook.posts}, {sent["id"]})
        again.stop()

    def test_killed_again_and_again_it_loses_nothing(self):
        hook = Hook()
        self.addCleanup(hook.close)
        client, sent, kills = self.client(), [], 8
        chance = random.Random(1)
        for _ in range(kills):
            one = self.dispatcher("one", "--channel", f"*=webhook:{hook.url}")
            sent += [trigger() for _ in range(40)]
            before = len(hook.posts)
            client.fire(*sent[-40:])
            wait_for("some", lambda: len(hook.posts) > before)
            time.sleep(chance.uniform(0, 0.15))
            one.kill()
        one = self.dispatcher("one", "--channel", f"*=webhook:{hook.url}")
        wait_for("all of them", lambda: len(set(hook.taken())) >= len(sent))
        time.sleep(QUIET)
        one.stop()
        self.assertEqual(set(hook.taken()), {each["id"] for each in sent})
        # Each time it may have been in the middle of one.
        self.assertLessEqual(len(hook.taken()) - len(sent), kills)

    def test_a_connection_that_breaks_again_and_again_costs_and_doubles_nothing(self):
        proxy = Proxy(self.port)
        self.addCleanup(proxy.close)
        one = self.dispatcher("one", port=proxy.port)
        client, sent = self.client(), []
        for _ in range(4):
            sent += [trigger() for _ in range(100)]
            client.fire(*sent[-100:-50])
            # What is acknowledged from now on does not arrive.
            proxy.mute = True
            client.fire(*sent[-50:])
            time.sleep(0.2)
            proxy.cut()
            proxy.mute = False
        wait_for("all of them", lambda: len(one.lines) >= len(sent))
        time.sleep(QUIET)
        self.assertEqual(sorted(one.ids()), sorted(each["id"] for each in sent))
        one.stop()
        again = self.dispatcher("one", port=proxy.port)
        time.sleep(QUIET)
        self.assertEqual(again.metrics()["dispatcher_received_total"], 0)

    def test_what_comes_while_it_is_away_waits(self):
        self.dispatcher().stop()
        sent = [trigger() for _ in range(50)]
        self.client().fire(*sent)
        one = self.dispatcher()
        wait_for("all of them", lambda: len(one.lines) >= 50)
        self.assertEqual(one.ids(), [each["id"] for each in sent])

    def test_two_share_the_load(self):
        shared = ("--state", f"{self.dir}/shared")
        both = [self.dispatcher(name, *shared) for name in ("one", "two")]
        sent = [trigger() for _ in range(60)]
        # The same again goes to either.
        self.client().fire(*sent, *sent[:21])
        wait_for("all of them", lambda: sum(len(each.lines) for each in both) >= 60)
        time.sleep(QUIET)
        self.assertEqual(sorted(both[0].ids() + both[1].ids()), sorted(each["id"] for each in sent))
        for each in both:
            self.assertGreater(len(each.lines), 10)
            each.stop()

    def test_what_comes_for_one_that_is_away_waits_for_it(self):
        one, two = self.dispatcher("one"), self.dispatcher("two")
        two.stop()
        sent = [trigger() for _ in range(20)]
        self.client().fire(*sent)
        two = self.dispatcher("two")
        wait_for("all of them", lambda: len(one.lines) + len(two.lines) >= 20)
        self.assertEqual(sorted(one.ids() + two.ids()), sorted(each["id"] for each in sent))

    def test_a_webhook_that_is_down_is_waited_for(self):
        hook = Hook()
        self.addCleanup(hook.close)
        hook.status = 503
        arguments = ("--channel", f"push=webhook:{hook.url}", "--channel", "*=console")
        one = self.dispatcher("one", *arguments)
        client = self.client()
        sent = [trigger(), trigger()]
        client.fire(*sent)
        wait_for("several attempts", lambda: len(hook.posts) >= 2)
        self.assertGreaterEqual(one.metrics()['dispatcher_failed_attempts_total{channel="push"}'], 1)
        # Stopped meanwhile, it has acknowledged nothing.
        one.stop()
        again = self.dispatcher("one", *arguments)
        client.fire(trigger(channels=["sms"]))
        hook.status = 200
        wait_for("both are taken", lambda: len(hook.taken()) >= 2)
        wait_for("what goes elsewhere", lambda: len(again.lines) == 1)
        time.sleep(QUIET)
        self.assertEqual(hook.taken(), [each["id"] for each in sent])
        self.assertEqual(hook.posts[-1][1]["title"], "Second loaf at half price")
        # A port where nobody listens is no different.
        hook.close()
        client.fire(trigger())
        wait_for("an attempt", lambda: again.metrics().get('dispatcher_failed_attempts_total{channel="push"}', 0) >= 1)
        again.stop()

    def test_what_expires_while_it_waits_is_given_up(self):
        hook = Hook()
        self.addCleanup(hook.close)
        hook.status = 500
        one = self.dispatcher("one", "--channel", f"push=webhook:{hook.url}", "--channel", "sms=console")
        late, next_one = trigger(expires_in=2), trigger(channels=["fax", "sms"])
        self.client().fire(late, next_one)
        wait_for("the next", lambda: one.ids() == [next_one["id"]])
        self.assertEqual(one.metrics()['dispatcher_skipped_total{reason="expired"}'], 1)

    def test_what_a_webhook_refuses_for_good_is_put_aside(self):
        hook = Hook()
        self.addCleanup(hook.close)
        hook.status = 422
        one = self.dispatcher("one", "--channel", f"push=webhook:{hook.url}")
        self.client().fire(trigger(), trigger(channels=["fax"]))
        wait_for("both are put aside", lambda: (self.dir / "aside").exists() and len((self.dir / "aside").read_text().splitlines()) == 2)
        self.assertEqual([json.loads(line)["reason"] for line in (self.dir / "aside").read_text().splitlines()], ["rejected", "unroutable"])
        self.assertEqual(len(hook.posts), 1)
        # A POST that is sent elsewhere would arrive as something else.
        hook.status = 302
        self.client().fire(trigger())
        wait_for("it is put aside", lambda: len((self.dir / "aside").read_text().splitlines()) == 3)
        self.assertEqual(len(hook.posts), 2)
        one.stop()

    def test_a_wrong_channel_is_an_error_at_once(self):
        wrong = self.start("--channel", "push=pigeon")
        self.assertNotEqual(wrong.child.wait(support.PATIENCE), 0)
        self.assertIn("pigeon", wrong.log.read_text())


class Python(Dispatching, Case):
    def start(self, *arguments):
        return Process(self, [support.sys.executable, "-B", support.PYTHON / "dispatcher.py", *map(str, arguments)])

    def test_one_that_leaves_takes_nothing_with_it(self):
        one, two = self.dispatcher("one"), self.dispatcher("two")
        two.stop()
        client, sent = self.client(), [trigger() for _ in range(20)]
        client.fire(*sent)
        wait_for("its share", lambda: one.lines)
        leaving = self.start("--broker", f"mqtt://127.0.0.1:{self.port}", "--client-id", "two", "--state", f"{self.dir}/state-two", "--metrics-port", "-1", "--leave")
        self.assertEqual(leaving.child.wait(support.PATIENCE), 0)
        self.assertGreater(len(leaving.lines), 0)
        more = [trigger() for _ in range(20)]
        client.fire(*more)
        wait_for("all of them", lambda: len(one.lines) + len(leaving.lines) >= 40)
        self.assertEqual(sorted(one.ids() + leaving.ids()), sorted(each["id"] for each in sent + more))
        self.assertEqual(one.ids()[-20:], [each["id"] for each in more])

    def test_cards_are_shown_until_they_are_cleared(self):
        client = self.client()
        card = trigger("card", expires_in=3600)
        topic = "market-hall/cards/shopper-01/bakery-card"
        client.publish(topic, card, retain=True)
        one = self.dispatcher("one", "--cards")
        wait_for("it is shown", lambda: one.lines)
        one.stop()
        client.publish(topic, b"", retain=True)
        again = self.dispatcher("one", "--cards")
        wait_for("it is cleared", lambda: again.lines)
        again.stop()
        self.assertEqual([(line["card"], line["id"], line["device"]) for line in one.lines + again.lines], [
            ("shown", card["id"], "shopper-01"), ("cleared", card["id"], "shopper-01"),
        ])  # fmt: skip


    def test_a_card_that_went_with_the_session_is_cleared(self):
        client = self.client()
        cards = [trigger("card", expires_in=3600, trigger=name) for name in ("a", "b")]
        for card in cards:
            client.publish(f"market-hall/cards/shopper-01/{card['data']['trigger']}", card, retain=True)
        one = self.dispatcher("one", "--cards")
        wait_for("they are shown", lambda: len(one.lines) == 2)
        one.stop()
        client.publish("market-hall/cards/shopper-01/a", b"", retain=True)
        again = self.dispatcher("two", "--cards", "--state", f"{self.dir}/state-one")
        wait_for("one is cleared", lambda: again.lines)
        self.assertEqual([(line["card"], line["trigger"]) for line in again.lines], [("cleared", "a")])
        wait_for("one is left", lambda: again.metrics()["dispatcher_cards"] == 1)


class Rust(Dispatching, Case):
    def start(self, *arguments):
        fixed = ("--templates", support.PYTHON / "templates.json", "--schema", support.ROOT / "docs/schemas/trigger.json")
        return Process(self, [rust_program(), *fixed, *map(str, arguments)])


class Archive(Case):
    """The archive, against something that answers as a gateway does."""

    def setUp(self):
        super().setUp()
        self.gateway = self.client()
        self.gateway.subscribe("market-hall/gateways/gw-1/replay")
        self.stored, self.epoch = {}, "e1"

    def make(self, *sequences):
        for sequence in sequences:
            event = example("presence-entered")
            event["id"] = f"{self.epoch}-{sequence}"
            event["data"].update(sequence=sequence, epoch=self.epoch)
            self.stored[sequence] = json.dumps(event).encode()

    def publish(self, *sequences):
        for sequence in sequences:
            self.gateway.publish("market-hall/events/bakery/entered", self.stored[sequence])

    def answer(self, lost=()):
        """Answers the next request."""
        asked = json.loads(self.gateway.came.get(timeout=support.PATIENCE).payload)
        self.assertEqual(asked["reply_to"], "market-hall/replays/archive")
        done = {"schema_version": 1, "site": "market-hall", "gateway": "gw-1", "epoch": self.epoch, "from": asked["from"], "to": asked["to"],
                "answered": 0, "missing": [], "complete": True, "next_sequence": max(self.stored) + 1}  # fmt: skip
        if asked["epoch"] != self.epoch:
            done["error"] = "other_epoch"
        else:
            for sequence in range(asked["from"], min(asked["to"], max(self.stored)) + 1):
                if sequence in lost:
                    done["missing"].append([sequence, sequence])
                else:
                    self.gateway.publish(asked["reply_to"], self.stored[sequence])
        self.gateway.publish(f"{asked['reply_to']}/done", done)
        return asked["from"], asked["to"]

    def status(self):
        self.gateway.publish("market-hall/gateways/gw-1/status", dict(example("status"), epoch=self.epoch), retain=True)

    def archive(self):
        started = self.python("archive.py", "--client-id", "archive", "--file", self.dir / "archive", "--gap-after", "1")
        wait_for("it connects", lambda: started.said("connected"))
        wait_for("it subscribes", lambda: "Sending SUBACK to archive" in (self.dir / "broker.log").read_text())
        return started

    def rows(self, query):
        with sqlite3.connect(self.dir / "archive") as database:
            return database.execute(query).fetchall()

    def sequences(self, epoch):
        return [sequence for (sequence,) in self.rows(f"SELECT sequence FROM items WHERE epoch = '{epoch}' ORDER BY sequence")]

    def test_asks_for_what_is_missing_and_keeps_all_of_it(self):
        one = self.archive()
        self.make(*range(30))
        self.publish(3, 4, 5, 9, 10, 4)
        self.assertEqual(self.answer(lost=[7]), (6, 8))
        # The answer says that 29 was made.
        self.assertEqual(self.answer(), (11, 29))
        wait_for("all of them", lambda: self.sequences("e1") == [3, 4, 5, 6, *range(8, 30)])
        self.assertEqual(self.rows("SELECT first, last FROM lost"), [(7, 7)])
        payloads = dict(self.rows("SELECT sequence, payload FROM items"))
        self.assertEqual(payloads, {sequence: self.stored[sequence] for sequence in payloads})

        # Away, it misses nothing that the broker keeps; a gap is found afterwards, too.
        one.stop()
        self.make(*range(30, 40))
        self.publish(30, 31, 33)
        one = self.archive()
        self.assertEqual(self.answer(), (32, 32))
        self.assertEqual(self.answer(), (34, 39))
        wait_for("all of them", lambda: self.sequences("e1")[-10:] == list(range(30, 40)))

        # A new epoch, whose first events it missed; of the older one nothing is asked any more.
        self.make(40, 41)
        self.publish(41)
        self.stored, self.epoch = {}, "e2"
        self.make(*range(5))
        self.status()
        self.publish(2, 3)
        # The status told it, so it asks for all that there may be.
        self.assertEqual(self.answer(), (0, 9999))
        wait_for("all of them", lambda: self.sequences("e2") == [0, 1, 2, 3, 4])
        wait_for("the older is lost", lambda: (40, 40) in self.rows("SELECT first, last FROM lost WHERE epoch = 'e1'"))
        self.assertEqual(self.rows("SELECT DISTINCT epoch FROM open_visits"), [("e2",)])
        one.kill()

        # Killed, it goes on; and a status tells it of what was made meanwhile.
        self.make(5, 6)
        one = self.archive()
        self.status()
        first, _ = self.answer()
        self.assertEqual(first, 5)
        wait_for("all of them", lambda: self.sequences("e2") == list(range(7)))
        one.stop()


if __name__ == "__main__":
    unittest.main()
