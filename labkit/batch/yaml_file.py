"""Read a YAML mapping that a stranger may have written: no doubled names, no bombs."""

from pathlib import Path
from typing import Any

import yaml

from labkit.errors import SettingsError

LARGEST_FILE = 1_000_000  # bytes
MOST_VALUES = 100_000  # with every alias written out
EXPECTED = "expected one mapping of names to values"


def load_mapping(path: Path, title: str) -> dict[Any, Any]:
    """The mapping of a YAML file, of plain values only.

    Args:
        title: begins the message of a fault.

    Raises:
        SettingsError: the file is unreadable, too large, no YAML, or no mapping.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise SettingsError(
                f"{title}: got a file of more than {LARGEST_FILE} bytes; {EXPECTED}."
            )
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None and _values_in(node, {}) > MOST_VALUES:
            raise SettingsError(
                f"{title}: got more than {MOST_VALUES} values by its aliases; {EXPECTED}."
            )
        content = yaml.load(text, _UniqueNames)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        if isinstance(error, SettingsError):
            raise
        raise SettingsError(f"{title}: got no YAML ({_first(error)}); {EXPECTED}.") from error
    except RecursionError:
        raise SettingsError(f"{title}: got values nested too deeply; {EXPECTED}.") from None
    except OSError as error:
        raise SettingsError(f"{title}: cannot be read ({error.strerror}); {EXPECTED}.") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{title}: got a {type(content).__name__}; {EXPECTED}.")
    return content


def _first(error: Exception) -> str:
    """An error in one line of at most 200 printable letters."""
    text = " ".join(str(error).split())[:200]
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _values_in(node: yaml.Node, counted: dict[int, int]) -> int:
    """Number of values below a node, counted for every alias; RecursionError where endless."""
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) not in counted:
        children = node.value
        if isinstance(node, yaml.MappingNode):
            children = [child for pair in node.value for child in pair]
        counted[id(node)] = 1 + sum(_values_in(child, counted) for child in children)
    return counted[id(node)]


class _UniqueNames(yaml.SafeLoader):
    """A name given twice is a mistake, not the second value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict:
        names = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        names = [name for name in names if isinstance(name, str)]
        if len(set(names)) < len(names):
            name = next(name for name in names if names.count(name) > 1)
            problem = f"{name[:80]!r} is given twice"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        return super().construct_mapping(node, deep)
