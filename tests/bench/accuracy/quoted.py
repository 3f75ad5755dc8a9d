"""Figures of others, quoted and not measured here: plain methods on the same recordings, and a study of estimators.

Source: the baselines that come with the recordings (plain methods in numpy, causal, scored as score_positions.py
does), and a study that tried several hundred configurations on them. They stand beside the measured ones for
comparison; no goal is computed from them."""

# mean / median / p90 in metres; danis, kolakowski.
POSITIONS = [
    ("grid Bayes filter on a surveyed radio map, 1 s (survey)", "1.43 / 1.38 / 2.45", "1.64 / 1.54 / 2.75"),
    ("maximum likelihood on a surveyed radio map, 3 s (survey)", "1.50 / 1.27 / 2.51", "1.77 / 1.29 / 3.59"),
    ("weighted kNN on the survey, 3 s (survey)", "1.84 / 1.58 / 3.50", "1.45 / 1.39 / 2.51"),
    ("maximum likelihood, log-distance fitted, 3 s (survey)", "1.93 / 1.62 / 3.69", "1.69 / 1.62 / 2.77"),
    ("range least squares, -59 dBm and n = 2, 3 s", "2.22 / 2.12 / 3.57", "3.84 / 3.90 / 4.50"),
    ("weighted centroid, 3 s", "2.53 / 2.29 / 4.56", "2.26 / 2.05 / 3.62"),
    ("nearest receiver, 3 s", "4.21 / 3.32 / 7.69", "1.75 / 1.05 / 4.93"),
    ("area centre (no information)", "5.13 / 4.96 / 8.45", "4.36 / 4.50 / 4.92"),
]
# Means alone.
STUDY = [
    ("grid, Gaussian-process map, Nakagami (survey)", "1.27", "1.00"),
    ("the same without a survey", "1.88", "1.63"),
    ("the same, half kept aside (survey)", "1.27", "0.95"),
    ("the same, half kept aside, without a survey", "1.85", "1.22"),
]
POSITIONS_NOTE = (
    "plain and study: quoted, not measured here. Not the same instants in kolakowski: the plain methods were scored",
    "on 166. The half kept aside is other tracks of the same sites.",
)

# false changes, an hour, time in the true zones, median delay.
ZONES = [
    ("plain: strongest receiver, 5 s, debounce 10 s, still", "", "3.9", "50%", ""),
    ("plain: maximum likelihood, 5 s, debounce 10 s, still", "", "1.5", "85-87%", ""),
    ("plain: maximum likelihood, 5 s, debounce 30 s, still", "", "0.1", "85-87%", ""),
    ("study: 0.8 / 0.2 held 5 s, still", "0", "", "99.7%", ""),
    ("study: 0.8 / 0.2 held 5 s, moving", "", "", "51%", "8.6 s"),
    ("study: 0.5 / 0.5 held 2 s, still", "0", "", "", ""),
    ("study: 0.5 / 0.5 held 2 s, moving", "", "", "72%", "3.6 s"),
]
ZONES_NOTE = (
    "plain and study: quoted, not measured here; the plain methods over all 126 places, 30 minutes each.",
)

# time in the true state, found, false an hour, median delay.
EVENTS = [
    ("plain: strongest receiver (1 s, none)", "83%", "46 of 74", "265", "-1.9 s"),
    ("plain: strongest receiver (1 s, 1 s)", "84%", "44 of 74", "91", "-1.1 s"),
    ("plain: kNN 15, learned on nine files (1 s, 1 s)", "93%", "73 of 74", "51", "1.3 s"),
    ("plain: kNN 15, learned on nine files (3 s, 1 s)", "92%", "73 of 74", "26", "1.7 s"),
    ("study: grid, without a survey", "78%", "53%", "54", ""),
]
EVENTS_NOTE = (
    "plain and study: quoted, not measured here; the plain methods over ten files, of which six are scored here.",
    "kNN learned from labelled recordings of this very chamber, the nine other files each time.",
)
