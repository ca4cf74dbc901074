"""One palette: the same colour for the same thing in every figure.

Source: Okabe and Ito's palette, which most colour-blind readers can tell apart; every figure adds
a shape or line style for those who see none of it.
"""

from collections.abc import Iterable

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILLION, PURPLE = (
    "#000000",
    "#E69F00",
    "#56B4E9",
    "#009E73",
    "#F0E442",
    "#0072B2",
    "#D55E00",
    "#CC79A7",
)
FAMILIES = {  # who taught, or which teacher: shades for several rows of one kind
    "nobody": ("#333333", "#7A7A7A", "#A9A9A9", "#5C5C5C"),
    "plain": (BLUE, SKY, "#004466", "#8AB8D9"),
    "assisted": (VERMILLION, ORANGE, "#8C3D00", "#F2A477"),
    "": (GREEN, PURPLE, "#005C44", "#8C6D1F"),
}
READINGS = {
    "image": BLUE,
    "true_label": VERMILLION,
    "foreign_label": PURPLE,
    "zero_label": "#7A7A7A",
}
BRANCHES = {"image": BLUE, "label": VERMILLION}  # input branches of an assisted teacher
SCORES = "viridis"  # colour map of mIoU
GAINS = "PuOr_r"  # colour map of differences, centred on 0: purple = less, orange = more
SHARES = "PuOr_r"  # colour map of the label's share, centred on one half
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
LINE_STYLES = ("-", "--", ":", "-.")
AXIS = {"color": "0.35", "lw": 1}  # the line at 0


def family(kind: str) -> str:
    """Key of `FAMILIES` for a run's kind or a `taught_by`."""
    return {"alone": "nobody", "of-plain": "plain", "of-assisted": "assisted"}.get(
        kind, kind if kind in FAMILIES else ""
    )


def row_styles(kinds: Iterable[str]) -> list[dict]:
    """Colour, marker and line style of every row: colour by kind, no two of 32 of a kind alike."""
    seen = dict.fromkeys(FAMILIES, 0)
    styles = []
    for kind in map(family, kinds):
        number = seen[kind]
        seen[kind] += 1
        shades = FAMILIES[kind]
        styles.append(
            {
                "color": shades[number % len(shades)],
                "marker": MARKERS[(number + number // len(shades)) % len(MARKERS)],
                "linestyle": LINE_STYLES[number % len(LINE_STYLES)],
            }
        )
    return styles
