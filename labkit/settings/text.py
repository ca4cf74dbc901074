"""Settings given as text: `--set name=value` and the `overrides` of a notebook."""

import re
from collections.abc import Iterable

from labkit.errors import SettingsError
from labkit.settings.base import echo, echo_name

NEXT_NAME = re.compile(r",(?=\s*[A-Za-z_][\w.]*\s*=)")  # a comma inside a value is kept


def parse_overrides(text: str) -> dict[str, str]:
    """Return the values of a text such as "batch_size=16, learning_rate=0.01"; "" gives none.

    Raises:
        SettingsError: a part is no name=value, or a name is given twice.
    """
    return parse_sets(NEXT_NAME.split(text)) if text.strip() else {}


def parse_sets(pairs: Iterable[str]) -> dict[str, str]:
    """Return the values of texts such as "batch_size=16", as texts.

    Raises:
        SettingsError: a text is no name=value, or a name is given twice; one line each.
    """
    values: dict[str, str] = {}
    faults: dict[str, None] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or not name:
            faults[f"got {echo(pair)}; expected name=value, such as batch_size=16."] = None
        elif name in values:
            faults[f"setting {echo_name(name)}: is given twice; expected once."] = None
        values[name] = value
    if faults:
        raise SettingsError("\n".join(faults))
    return values
