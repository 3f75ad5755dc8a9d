"""The words of messages, by campaign."""

import json
import re

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_PATH = re.compile(r"(data|facts|trigger|campaign|subject)(\.[A-Za-z0-9_-]+)*")


class Templates:
    """A file {"default": {"title", "body"}, "campaigns": {NAME: {"title", "body"}}}.

    `{data.headline|facts.zone.name|our shop}` is the first of these that there is: a path into the trigger's `data` or `facts`,
    or, where it is no path, the text itself. A campaign without a template of its own takes that of the longest name that it begins
    with (`churn-2026` that of `churn`), else the default. A rule whose own data has a `title` or a `body` has the last word."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            given = json.load(file)
        self._default, self._campaigns = given["default"], given["campaigns"]
        for name, template in [("default", self._default), *self._campaigns.items()]:
            if not isinstance(template.get("title"), str) or not isinstance(template.get("body"), str):
                raise SystemExit(f"{path}: {name} needs a title and a body")

    def render(self, trigger):
        """Title and body."""
        data = trigger["data"]
        scope = {"data": data["data"], "facts": data["facts"], "trigger": data["trigger"], "campaign": data["campaign"], "subject": trigger["subject"]}
        template, own = self._of(data["campaign"]), data["data"]
        return tuple(own[part] if isinstance(own.get(part), str) else _fill(template[part], scope) for part in ("title", "body"))

    def _of(self, campaign):
        if campaign in self._campaigns:
            return self._campaigns[campaign]
        fitting = [name for name in self._campaigns if re.match(re.escape(name) + r"[-_:/. ]", campaign)]
        return self._campaigns[max(fitting, key=len)] if fitting else self._default


def _fill(text, scope):
    def value(match):
        for choice in match[1].split("|"):
            if not _PATH.fullmatch(choice):
                return choice
            found = scope
            for step in choice.split("."):
                found = found.get(step) if isinstance(found, dict) else None
            if found not in (None, "", [], {}):
                return _words(found)
        return ""

    return " ".join(_PLACEHOLDER.sub(value, text).split())


def _words(value):
    if isinstance(value, list):
        return ", ".join(_words(one) for one in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
