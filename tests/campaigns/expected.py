"""What is expected of a story, and what is held back in it: expected.txt, read and compared.

    2026-03-02 10:00:00 +0s  RULE  WHO  CHANNEL,CHANNEL  [card]      when it happened, how much later it was decided; no channels: -
      key TEXT                                                       where it is not the usual one
      data {…}
      says TITLE | BODY                                              what the dispatcher says; or: says nothing
    not 2026-03-02 10:00:00  RULE  WHO  REASON                       when it would have happened
"""

import datetime
import json
import re
from dataclasses import dataclass, field

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
REASONS = {
    "never", "condition", "missing", "no_consent", "holdout", "store_hours", "quiet_hours", "cool_down", "cap", "site_cap", "shared_cap",
    "not_observed", "unattended",
}  # fmt: skip


@dataclass
class Expected:
    line: int
    time: str
    late: int
    rule: str
    who: str
    channels: list
    card: bool
    key: str | None = None
    data: dict | None = None
    says: str | None = None

    def name(self):
        return f"{self.time} {self.rule} {self.who}"


@dataclass
class Held:
    line: int
    time: str
    rule: str
    who: str
    reason: str

    def name(self):
        return f"{self.time} {self.rule} {self.who}"


@dataclass
class Expectations:
    fires: list = field(default_factory=list)
    held: list = field(default_factory=list)


def read(path):
    found = Expectations()
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if words[0] == "not":
                _, day, time, rule, who, reason = words
                if reason not in REASONS:
                    raise ValueError(f"{reason} is no reason")
                found.held.append(Held(number, f"{day} {time}", rule, who, reason))
            elif line[0] != " ":
                day, time, late, rule, who, channels, *card = words
                if card not in ([], ["card"]):
                    raise ValueError(f"{card}")
                channels = [] if channels == "-" else channels.split(",")
                late = int(re.fullmatch(r"\+(\d+)s", late)[1])
                found.fires.append(Expected(number, f"{day} {time}", late, rule, who, channels, bool(card)))
            else:
                rest = line.strip()[len(words[0]) :].strip()
                if words[0] == "data":
                    rest = json.loads(rest)
                elif words[0] not in ("key", "says"):
                    raise ValueError(f"{words[0]} is not known")
                setattr(found.fires[-1], words[0], rest)
        except (ValueError, TypeError, IndexError) as error:
            raise SystemExit(f"{path}:{number}: {error}") from error
    for one in found.fires:
        if one.data is None or one.says is None:
            raise SystemExit(f"{path}:{one.line}: data and says must follow")
    return found


def local(text, zone):
    """An instant on the store's clock, to the second; what has milliseconds is no such."""
    at = datetime.datetime.fromisoformat(text).astimezone(zone)
    return f"{at:%Y-%m-%d %H:%M:%S}" + (f".{at.microsecond // 1000:03}" if at.microsecond else "")


def moment(trigger, zone):
    """When it happened, the rule, who."""
    return local(trigger["time"], zone), trigger["data"]["trigger"], trigger["subject"]


def differences(expected, triggers, store):
    """What is otherwise, in words."""
    found = []
    wanted = [one.name() for one in expected]
    got = [" ".join(moment(trigger, store.zone)) for trigger in triggers]
    found += [f"does not fire: {name}" for name in wanted if wanted.count(name) > got.count(name)]
    found += [f"fires and should not: {name}" for name in got if got.count(name) > wanted.count(name)]
    if not found and wanted != got:
        found.append(f"fires in another order: {got}")
    if found:
        return found
    for one, trigger in zip(expected, triggers):
        data = trigger["data"]
        late = seconds(data["decided_at"]) - seconds(data["observed_at"])
        usual = f"{re.escape(f'{store.id}:{one.rule}:{one.who}:')}{UUID}"
        checks = [
            ("late", late == one.late, late),
            ("channels", data["channels"] == one.channels, data["channels"]),
            ("card", data.get("card", False) == one.card, data.get("card")),
            ("data", same(data["data"], one.data), data["data"]),
            ("key", data["deduplication_key"] == one.key if one.key else re.fullmatch(usual, data["deduplication_key"]), data["deduplication_key"]),
        ]
        found += [f"{one.name()} (line {one.line}): {what} is {value}" for what, holds, value in checks if not holds]
    return found


def same(one, other):
    """Equal, types included: 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def seconds(instant):
    return datetime.datetime.fromisoformat(instant).timestamp()
