"""How messages reach people. A channel delivers, or raises what went wrong."""

import json
import os
import urllib.error
import urllib.request


class Later(Exception):
    """It did not work now; it may later."""


class Never(Exception):
    """It is refused for good."""


class Console:
    """A line of JSON for each message."""

    def deliver(self, message):
        line = json.dumps(message, ensure_ascii=False, separators=(",", ":")) + "\n"
        rest = line.encode()
        while rest:
            rest = rest[os.write(1, rest):]


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A POST that is redirected would become a GET, and the message be gone."""

    def redirect_request(self, *_):
        return None


_OPENER = urllib.request.build_opener(_NoRedirects)


class Webhook:
    """POSTs each message as JSON.

    `Idempotency-Key` is the id of the trigger: a dispatcher that is killed after the POST and before it has noted that will POST it again."""

    def __init__(self, url, timeout_s=10.0):
        self._url, self._timeout_s = url, timeout_s

    def deliver(self, message):
        body = json.dumps(message, ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": message["id"]}
        request = urllib.request.Request(self._url, body, headers, method="POST")
        try:
            with _OPENER.open(request, timeout=self._timeout_s):
                return
        except urllib.error.HTTPError as error:
            with error:
                if error.code in (408, 409, 425, 429) or error.code >= 500:
                    raise Later(f"status {error.code}") from error
                raise Never(f"status {error.code}") from error
        except (OSError, ValueError) as error:
            raise Later(str(error)) from error


def make(text):
    """`console`, or `webhook:URL`."""
    kind, _, rest = text.partition(":")
    if kind == "console" and not rest:
        return Console()
    if kind == "webhook" and rest.startswith(("http://", "https://")):
        return Webhook(rest)
    raise SystemExit(f"{text} is no channel; write NAME=console or NAME=webhook:http://…")


def choose(channels, wanted):
    """The name and the channel for a trigger that names `wanted`, best first; `*` takes what has no channel of its own."""
    for name in wanted:
        if name in channels:
            return name, channels[name]
    if not wanted and channels:
        name, channel = next(iter(channels.items()))
        return ("default" if name == "*" else name), channel
    return (wanted[0], channels["*"]) if wanted and "*" in channels else None
