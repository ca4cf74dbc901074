"""The final form of `distillation` and of its distillers' options."""

from collections.abc import Mapping
from typing import Any

from labkit.errors import SettingsError
from labkit.settings.base import echo, echo_name


def final_distillation(
    distillation: str,
    offered: Mapping[str, Any],
    given: Mapping[str, Any],
    *,
    weights_given: bool = True,
) -> tuple[str, dict[str, Any]]:
    """Return the distillation with every weight written out, and all options with final values.

    A weight that is calibrated stays the word: it is measured when the run is prepared.

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
    from labkit import distillers  # torch, late

    _refuse_unusable(given)
    weights = distillers.parse_distillation(distillation)
    if not weights_given:
        weights = {
            name: None if f"{name}.weight" in given else weight for name, weight in weights.items()
        }
    fixed = {f"{name}.weight" for name, weight in weights.items() if weight is not None}
    options = {
        name: value
        for name, value in offered.items()
        if name.partition(".")[0] in weights and name not in fixed
    }
    final = distillers.resolve_distillation(_text(weights), options | dict(given))
    for name, settings in final.items():
        if settings["weight"] != distillers.CALIBRATED and settings["weight"] < 0:
            raise SettingsError(
                f"setting {name}.weight: got {settings['weight']}; expected a number of at least 0."
            )
    written = _text({name: final[name]["weight"] for name in sorted(final)})
    return written, {
        f"{name}.{option}": value
        for name in sorted(final)
        for option, value in final[name].items()
        if option != "weight"
    }


def _text(weights: Mapping[str, float | str | None]) -> str:
    """Return "cwd:3+skd": numbers without loss and without a trailing ".0"."""
    return "+".join(
        name if weight is None else f"{name}:{str(weight).removesuffix('.0')}"
        for name, weight in weights.items()
    )


def _refuse_unusable(given: Mapping[str, Any]) -> None:
    """Refuse options and values that are long, unprintable or no plain values."""
    faults = {}
    for name, value in given.items():
        usable = isinstance(value, (bool, int, float, str)) and (
            not isinstance(value, int) or abs(value) < 2**31
        )
        text = str(value) if usable else ""
        if not usable or len(name) > 100 or not name.isprintable():
            faults[name] = f"setting {echo_name(name)}: got {echo(value)}; expected a plain value."
        elif len(text) > 100 or not text.isprintable():
            faults[name] = f"setting {name}: got {echo(value)}; expected a short plain value."
    if faults:
        raise SettingsError("\n".join(faults.values()), names=faults)
