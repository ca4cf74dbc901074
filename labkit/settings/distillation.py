"""The final form of `distillation` and of its distillers' options."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from labkit.errors import SettingsError, nearest_name
from labkit.settings.base import echo, echo_name


def resolve_distillation(
    distillation: str,
    offered: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    weights_given: bool = True,
) -> tuple[str, dict[str, Any]]:
    """Return the distillation with every weight written out, and all options with final values.

    Two texts of one meaning ("cwd" with its default weight, "kd:1+cwd:3" in any order) become one.

    Args:
        distillation: such as "cwd:3+skd".
        offered: options of the recipe by "cwd.temperature"; those of other distillers are skipped.
        given: options of the user; those of other distillers are faults.
        weights_given: `distillation` is the user's: "cwd.weight" beside its "cwd:3" is a fault.

    Returns:
        "cwd:3+skd:10" in alphabetic order, and {"cwd.temperature": 1.0, ...} without the weights.

    Raises:
        SettingsError: unknown distillers or options, or values of another type; one line each.
    """
    from labkit.distillers import distiller_settings, parse_distillation  # torch, late

    weights = parse_distillation(distillation)
    defaults = {name: distiller_settings(name) for name in sorted(weights)}
    known = {
        f"{name}.{option}": default
        for name in defaults
        for option, default in defaults[name].items()
    }
    fixed = {f"{name}.weight" for name, weight in weights.items() if weight is not None}
    faults = dict(_faults(known, defaults, given, fixed if weights_given else set()))
    values = known | {name: float(weights[name.partition(".")[0]]) for name in fixed}
    offered = {name: value for name, value in offered.items() if name not in fixed}
    for name, value in (offered | dict(given)).items():
        if name in known and name not in faults:
            try:
                values[name] = convert_like(known[name], value)
                if name.endswith(".weight") and values[name] < 0:
                    raise ValueError("a number of at least 0")
            except ValueError as error:
                faults[name] = f"setting {name}: got {echo(value)}; expected {error}."
    if faults:
        raise SettingsError("\n".join(faults.values()), names=faults)
    final = "+".join(f"{name}:{_short(values.pop(f'{name}.weight'))}" for name in defaults)
    return final, values


def _short(weight: float) -> str:
    """Return a number without loss and without a trailing ".0"."""
    return repr(float(weight)).removesuffix(".0")


def convert_like(default: Any, value: Any) -> Any:
    """Return a value converted to the type of a default: bool, int, finite float or str.

    Raises:
        ValueError: it cannot be; the message is what is expected.
    """
    wanted = type(default)
    expected = {bool: "yes or no", int: "a whole number", float: "a number", str: "a text"}[wanted]
    if isinstance(value, bool) and wanted is not bool:
        raise ValueError(expected)
    if wanted is str:
        return str(value)
    try:
        result = TypeAdapter(wanted).validate_python(value)
    except ValidationError:
        raise ValueError(expected) from None
    if wanted is not bool and not abs(result) < (2**31 if wanted is int else math.inf):
        raise ValueError(expected)
    return result


def _faults(
    known: Mapping[str, Any],
    defaults: Mapping[str, Any],
    given: Mapping[str, Any],
    fixed: set[str],
) -> Iterator[tuple[str, str]]:
    """Yield name and line of each given option that does not exist or does not apply."""
    for name in given:
        distiller = name.partition(".")[0]
        if distiller not in defaults:
            yield (
                name,
                f"setting {echo_name(name)}: does not apply, the distillation is "
                f"{'+'.join(defaults)}. Add its distiller there, or leave it out.",
            )
        elif name not in known:
            nearest = nearest_name(name[:100], known)
            yield name, f"setting {echo_name(name)}: no such setting; {nearest}"
        elif name in fixed:
            yield name, f"setting {name}: is given twice, here and in distillation."
