"""The pages of docs/campaigns say what the tests have seen: rules, tables, payloads and templates are those of the campaigns."""

import json
import re

# Reasons that are no decision of the gateway: what the rule waits for did not happen, or not yet.
UNTRIED = {"never": "not tried", "unattended": "not yet"}


class Wrong(Exception):
    """A page says what is not so."""


def check(root, here, campaign):
    path = root / f"docs/campaigns/{campaign.name}.md"
    if not path.exists():
        raise Wrong(f"{path} is missing")
    text = path.read_text()
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    rules = [body for kind, body in blocks if kind == "toml"]
    payloads = [json.loads(body) for kind, body in blocks if kind == "json"]
    _rules(path, rules, campaign)
    _payloads(path, payloads, json.loads((here / "templates.json").read_text()), campaign)
    _tables(path, text, campaign)


def _rules(path, rules, campaign):
    for rule in rules:
        if rule not in campaign.rules:
            raise Wrong(f"{path}: these rules are not those of triggers.toml:\n{rule}")
    shown = "".join(rules)
    for name in re.findall(r'^id = "(.*)"$', campaign.rules, re.MULTILINE):
        if f'id = "{name}"\n' not in shown:
            raise Wrong(f"{path}: the rule {name} is not shown")


def _payloads(path, payloads, templates, campaign):
    triggers = [payload for payload in payloads if "specversion" in payload]
    if not triggers:
        raise Wrong(f"{path}: it shows no payload")
    for payload in triggers:
        if payload not in campaign.triggers:
            raise Wrong(f"{path}: the payload {payload['id']} is none that comes of the story")
    shown = {name: template for payload in payloads if "specversion" not in payload for name, template in payload.items()}
    wanted = {trigger["data"]["campaign"] for trigger in campaign.triggers} & set(templates["campaigns"])
    if shown != {name: templates["campaigns"][name] for name in wanted}:
        raise Wrong(f"{path}: the templates are not those of {', '.join(sorted(wanted))} in templates.json")


def _tables(path, text, campaign):
    """Rows | time | rule | who | … : first of what fires, then of what does not, with its reason in the fourth column."""
    heads = re.split(r"^## ", text, flags=re.MULTILINE)
    rows = {}
    for head in heads:
        title = head.split("\n", 1)[0]
        found = re.findall(r"^\| (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \| `([^`]+)` \| ([^ |]+) \| ([^|]*?) \|", head, re.MULTILINE)
        if found:
            rows[title] = found
    fires = [(one.time, one.rule, one.who, ", ".join(one.channels)) for one in campaign.expected.fires]
    held = [(one.time, one.rule, one.who, UNTRIED.get(one.reason, f"`{one.reason}`")) for one in campaign.expected.held]
    for title, wanted in (("What fires, and when", fires), ("What does not, and why", held)):
        got = rows.get(title, [])
        if sorted(got) != sorted(wanted):
            lacks, more = sorted(set(wanted) - set(got)), sorted(set(got) - set(wanted))
            raise Wrong(f"{path}: the table below \"{title}\" lacks {lacks} and has {more}")
