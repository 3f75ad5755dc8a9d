"""What positions and presence cost beyond reading the file: CPU time, since the machine may be shared.

The tag's recordings of ten places (12 receivers, about 23 sightings/s; as plain text, in time order) are replayed
with the tag registered, and once more with another address of the same length in every line: then each line is read,
parsed and looked up, and passed over. The difference of the two, over the number of sightings, is the cost of
everything from the sighting to the event: batches, grid, zones, presence, and the few events themselves. One device:
no cache is shared with others."""

import gzip
import resource
import statistics

from common import at_most, copy_site, figure, need, table
from real import STILL

ROUNDS = 7
GOAL = 4.0
TAG, OTHER = b"c0:ff:ee:00:00:01", b"c0:ff:ee:00:00:99"


def run(program, data, folder):
    recordings = [data / "danis" / "still" / f"{place}.jsonl.gz" for place in STILL]
    need(data / "danis" / "site", *recordings)
    site = copy_site(data / "danis" / "site", folder / "site")
    parts = sorted(gzip.decompress(path.read_bytes()) for path in recordings)  # each begins with its time
    text = b"".join(parts)
    known, unknown = folder / "known.jsonl", folder / "unknown.jsonl"
    known.write_bytes(text)
    unknown.write_bytes(text.replace(TAG, OTHER))
    count = text.count(TAG)
    spent = {known: [], unknown: []}
    for _ in range(ROUNDS):
        for file, times in spent.items():
            times.append(replay(program, site, file) / count * 1e6)
    differences = [whole - parsing for whole, parsing in zip(spent[known], spent[unknown])]
    figure("cost/us_per_sighting", statistics.median(differences), at_most(GOAL))
    rows = [
        (name, *(f"{value:.2f}" for value in (statistics.median(times), min(times), max(times))))
        for name, times in (
            ("whole replay", spent[known]), ("reading, parsing, look-up", spent[unknown]), ("difference", differences)
        )
    ]
    note = (f"{count} sightings, {ROUNDS} rounds, the two alternating; CPU time, user and system.",)
    table("Cost, microseconds a sighting", ["", "median", "least", "most"], rows, note)


def replay(program, site, file):
    """CPU seconds of one replay."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    program.run("replay", "--events", "--site", site, file)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
