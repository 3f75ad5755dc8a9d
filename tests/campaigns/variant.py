"""The rules without what holds one of them back: to see that it is this, and nothing else, that does."""

import copy
import json
import tomllib

# What to take away to see what a reason has held back.
AWAY = {
    "condition": lambda rules, rule: rule.pop("if", None),
    "missing": lambda rules, rule: (rule.pop("if", None), rule.get("then", {}).pop("data", None), rule.get("then", {}).pop("deduplication_key", None)),
    "no_consent": lambda rules, rule: rule.setdefault("unless", {}).update(consent=""),
    "holdout": lambda rules, rule: rule["unless"].pop("holdout"),
    "store_hours": lambda rules, rule: rule["unless"].pop("store_hours"),
    "quiet_hours": lambda rules, rule: rule.setdefault("unless", {}).update(quiet_hours=False),
    "cool_down": lambda rules, rule: rule["unless"].pop("cool_down"),
    "cap": lambda rules, rule: rule["unless"].pop("caps"),
    "site_cap": lambda rules, rule: rule["unless"].pop("site_caps"),
    "shared_cap": lambda rules, rule: rules.pop("caps"),
}


def without(text, rule_id, reason):
    """triggers.toml without that."""
    rules = copy.deepcopy(tomllib.loads(text))
    AWAY[reason](rules, next(rule for rule in rules["trigger"] if rule["id"] == rule_id))
    return written(rules)


def written(rules):
    """As TOML: what tables hold stands in braces."""
    lines = [f"{key} = {_value(value)}" for key, value in rules.items() if key != "trigger"]
    for rule in rules["trigger"]:
        lines += ["[[trigger]]"] + [f"{key} = {_value(value)}" for key, value in rule.items()]
    return "\n".join(lines) + "\n"


def _value(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {_value(member)}" for key, member in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(member) for member in value) + "]"
    return json.dumps(value)
