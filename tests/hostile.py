"""Values that a stranger's file may hold, and what they may not change."""

import copy
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FAST = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
HOSTILE = ["../../../x", "/etc/passwd", "..", "a\0b", "\x1b[2J", "${HOME}", "$(touch x)", "a" * 300]
TEXTS = st.sampled_from(HOSTILE) | st.text(max_size=20)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
RAW = st.binary(max_size=60) | st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"1" * 10_000])


@st.composite
def changed(draw, values):
    """The values with one of them, anywhere, replaced, removed or joined by a stranger."""
    values = copy.deepcopy(values)
    node = values
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not keys:
            return values
        key = draw(st.sampled_from(keys))
        inside = node[key]
        if isinstance(inside, (dict, list)) and inside and draw(st.booleans()):
            node = inside
            continue
        how = draw(st.sampled_from(["replace", "remove", "add"]))
        if how == "remove":
            del node[key]
        elif how == "replace" or isinstance(node, list):
            node[key] = draw(VALUES)
        else:
            node[draw(TEXTS)] = draw(VALUES)
        return values


def listing(folder: Path) -> dict[str, tuple]:
    """Size and modification time of every file and folder below a folder."""
    paths = {path.relative_to(folder).as_posix(): path.lstat() for path in folder.rglob("*")}
    return {name: (status.st_size, status.st_mtime_ns) for name, status in paths.items()}
