#!/usr/bin/env python3
"""The reference dispatcher, for which it is always the moment at which the trigger in hand was decided: a story is of days that are over,
and by the clock all of it has expired."""

import importlib.util
import pathlib
import sys

PROGRAM = pathlib.Path(__file__).resolve().parent.parent.parent / "deploy/examples/dispatcher/python/dispatcher.py"


def main():
    sys.path.insert(0, str(PROGRAM.parent))
    spec = importlib.util.spec_from_file_location("dispatcher", PROGRAM)
    dispatcher = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(dispatcher)

    class AsOfEvents(dispatcher.Dispatcher):
        def __init__(self, *arguments, **options):
            self._now = 0.0
            super().__init__(*arguments, **options, clock=lambda: self._now)

        def _parsed(self, payload):
            trigger = super()._parsed(payload)
            self._now = dispatcher._seconds(trigger["data"]["decided_at"])
            return trigger

    dispatcher.Dispatcher = AsOfEvents
    return dispatcher.main()


if __name__ == "__main__":
    sys.exit(main())
