"""Compares `beaconfence decode` with the expected values of other decoders' test vectors.

Usage: check.py PROGRAM FOLDER-OF-VECTORS. Prints each difference with its reason where one is known, then a line
`vectors/SOURCE measured=AGREED goal=ALL met|missed` for each source. Vectors that differ for a known reason
are left out of the goal. Exit 0 where every difference is explained and no
malformed vector gave a frame.
"""

import json
import pathlib
import subprocess
import sys

# What Eddystone loses from 0 m to 1 m. The sources give the power at 0 m; we give it at 1 m.
LOSS_TO_1_M = 41

# Differences that are meant, and why.
OVERLAP = (
    "the source's test wants any beacon; the expected values overlap: they take the last byte of id1 for the first of id2, "
    "and so all that follows stands one byte too early"
)
EXPLAINED = {
    ("altbeacon-2", "manufacturer_reserved"): "the byte is not in the AD structure; the source reads the padding behind it",
    ("altbeacon-6", "id"): OVERLAP,
    ("altbeacon-6", "measured_power"): OVERLAP,
    ("altbeacon-6", "manufacturer_reserved"): OVERLAP,
    ("advlib-advble-advdatatypes-INPUT_DATA_16BIT_SERVICE", "frames"):
        "the source tests only the container; its service data is a whole Eddystone-URL frame",
}

# Members of the sources that are no part of the frame's format: what a library makes of it, other AD structures.
NOT_OF_THE_FRAME = {
    "distance_m_at_rssi_minus60", "distance", "cypress_temperature", "cypress_humidity", "vendor", "transient", "frame",
    "local_name", "tx_power_level_ad",
}


def wanted_frame(vector):
    """The frame that we should give, in our words; None where the vector is of a format that we do not read."""
    form, expected = vector["format"], vector["expected"]
    fields = {name: value for name, value in expected.items() if name not in NOT_OF_THE_FRAME}
    if form in ("ibeacon", "IBeaconAdvertisement"):
        return {"format": "ibeacon", "measured_power": fields.pop("tx_power"), **fields}
    if form == "apple" and vector["label"].endswith("IBEACON"):
        uuid, major, minor = fields["deviceIds"][0].split("/")
        parts = (uuid[:8], uuid[8:12], uuid[12:16], uuid[16:20], uuid[20:])
        return {
            "format": "ibeacon", "uuid": "-".join(parts), "major": int(major, 16), "minor": int(minor, 16),
            "measured_power": fields["txPower"],
        }
    if form == "altbeacon":
        return {
            "format": "altbeacon",
            "id": fields["id1"].replace("-", "") + f"{fields['id2']:04x}{fields['id3']:04x}",
            "company": f"{fields['company_id']:04x}",
            "manufacturer_reserved": fields["mfg_reserved"],
            "measured_power": fields["tx_power"],
        }
    if form == "eddystone-url":
        return {"format": form, "url": fields["url"], "measured_power": fields["tx_power_0m"] - LOSS_TO_1_M}
    if form == "EddystoneEIDFrame":
        return {"format": "eddystone-eid", "eid": fields["eid"], "measured_power": fields["tx_power"] - LOSS_TO_1_M}
    if form == "eddystone" and "uri" in fields:
        return {"format": "eddystone-url", "url": fields["uri"], "measured_power": fields["txPower"] - LOSS_TO_1_M}
    if form == "eddystone" and "deviceIds" in fields:
        eid = fields["deviceIds"][0].split("/")[0]
        return {"format": "eddystone-eid", "eid": eid, "measured_power": fields["txPower"] - LOSS_TO_1_M}
    return None


def line_of(vector):
    """The vector as a line for `decode`; None where it is no advertising data (a header, a GATT value,
    an address) or its company is not known."""
    for name in ("adv_hex", "ad_payload_hex"):
        if name in vector:
            return {"adv": vector[name]}
    data = vector.get("manufacturer_data")
    if data is not None and data["company_id"] is not None:
        return {"manufacturer_data": {f"{data['company_id']:04x}": data["hex"]}}
    if vector.get("service_data") is not None:
        return {"service_data": {vector["service_data"]["uuid"]: vector["service_data"]["hex"]}}
    return None


def main():
    program, folder = sys.argv[1:]
    files = sorted(pathlib.Path(folder).glob("*.json"))
    if not files:
        sys.exit(f"vectors: BEACONFENCE_DATA is wrong: there is no file {folder}/*.json")
    vectors = [
        (path.stem, vector, line_of(vector)) for path in files for vector in json.loads(path.read_text("utf-8"))
    ]
    cases = [case for case in vectors if case[2] is not None]
    text = "".join(json.dumps(line) + "\n" for _, _, line in cases)
    done = subprocess.run([program, "decode"], input=text, capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    if len(answers) != len(cases):
        sys.exit(f"vectors: {len(cases)} lines gave {len(answers)}")

    agreed, explained, total, malformed, with_frame, other, unexplained = {}, {}, {}, 0, 0, 0, 0
    for (source, vector, _), answer in zip(cases, answers):
        if vector["expected"] is None:
            malformed += 1
            if answer["frames"]:
                with_frame += 1
                print(f"malformed {vector['id']} gave {answer['frames']}")
            continue
        wanted = wanted_frame(vector)
        if wanted is None:
            # Formats that are not ours must not be taken for one of ours.
            other += 1
            if answer["frames"]:
                reason = EXPLAINED.get((vector["id"], "frames"))
                unexplained += reason is None
                print(
                    f"difference {source} {vector['id']}: not a format of ours, but gave {answer['frames']}: "
                    f"{reason or 'UNEXPLAINED'}"
                )
            continue
        total[source] = total.get(source, 0) + 1
        frame = answer["frames"][0] if len(answer["frames"]) == 1 else {}
        differing = sorted(name for name in {*wanted, *frame} if wanted.get(name) != frame.get(name))
        agreed[source] = agreed.get(source, 0) + (not differing)
        meant = bool(differing) and all((vector["id"], name) in EXPLAINED for name in differing)
        explained[source] = explained.get(source, 0) + meant
        for name in differing:
            reason = EXPLAINED.get((vector["id"], name))
            unexplained += reason is None
            print(
                f"difference {source} {vector['id']} {name}: theirs {wanted.get(name)}, ours {frame.get(name)}: "
                f"{reason or 'UNEXPLAINED ' + json.dumps(answer)}"
            )

    skipped = len(vectors) - len(cases)
    print(f"{other} vectors are of other formats; {skipped} are no advertising data")
    for source, count in total.items():
        goal = count - explained[source]
        print(f"{source}: {count} vectors of our formats, {explained[source]} differ for a reason given above")
        print(f"vectors/{source} measured={agreed[source]} goal={goal} {'met' if agreed[source] == goal else 'missed'}")
    print(f"{malformed} vectors are malformed")
    print(f"vectors/malformed-with-frame measured={with_frame} goal=0 {'missed' if with_frame else 'met'}")
    sys.exit(1 if unexplained or with_frame else 0)


if __name__ == "__main__":
    main()
