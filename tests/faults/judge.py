"""The end of a test: the outbox runs empty, gaps are filled, everything is compared."""

import check
from gateway import reference


def settle(run, gateway, subscriber, limit=120):
    """Returns the gateway's next sequence, when everything has come or was said to be missing."""
    gateway.wait_until_empty(limit)
    return subscriber.fill()


def judge(run, subscriber, next_sequence, closed=False, lines=None, site=None):
    """Fills the verdict. `lines`: the inputs, where the events follow from them exactly."""
    verdict, recording = run.verdict, subscriber.recording
    with subscriber.lock:
        problems = check.check_recording(recording) + check.check_complete(recording, next_sequence)
        problems += check.check_visits(recording, closed, whole=not recording.missing(next_sequence))
        verdict.published = next_sequence
        verdict.redelivered, verdict.replayed = recording.redelivered, recording.replayed
        events = recording.events()
    if lines is not None:
        epoch = events[0].data["epoch"] if events else "none"
        expected = reference(run, site, lines, epoch)
        if not expected:
            problems.append(("wrong", "the reference has no events at all"))
        # A sequence that never came and the event of the reference that it stands for are one loss.
        found = check.check_reference(recording, expected)
        if any(kind == "lost" for kind, _ in found):
            problems = [problem for problem in problems if problem[0] != "lost"]
        problems += found
        if len(expected) != next_sequence:
            problems.append(("wrong", f"the reference has {len(expected)} events, the gateway made {next_sequence}"))
    verdict.add(problems)
    return events
