"""Distillers: what a student learns from a teacher's Outputs. One file each, found by file name.

Denominators and weights follow one convention:

* Every term is a mean: over pixels, over maps (N*K), over elements (N*C*h*w) or over images, as its
  docstring says. Its value does not depend on batch size, nor on resolution and width as far as the
  loss allows.
* Void pixels enter the losses that do not need labels (`void=True` where it is a setting). Losses
  that need labels leave void pixels out of sum and denominator.
* `weight` multiplies the term. Defaults are the customary weights of public code. Where that code
  has another denominator, the default is converted, at the resolution it was tuned for, and the
  docstring says from what. The weight `calibrated` ("at:calibrated") is measured when a run is
  prepared, see `calibrate`.
* Features are encoder stages (`stage`, an index into Outputs.features). Public code often taps the
  decoder's last feature instead.
* Computed in float32, whatever autocast says; the teacher never receives a gradient.

To add one: a file here with one subclass of `Distiller`. `tests/test_distillers_*.py` run over the
folder.
"""

import importlib
import inspect
import math
import pkgutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labkit.errors import SettingsError, nearest_name

if TYPE_CHECKING:
    from labkit.distillers.base import Distiller
    from labkit.method import Outputs

SHARED = ("base", "calibrate", "combined", "probe")  # files of this folder that hold no distiller
CALIBRATED = "calibrated"  # the weight that is measured on the run's own networks and batches


def available() -> list[str]:
    """Names of the distillers: the public files of this folder."""
    names = (module.name for module in pkgutil.iter_modules(__path__))
    return sorted(name for name in names if name not in SHARED and not name.startswith("_"))


def parse_distillation(distillation: str) -> dict[str, float | str | None]:
    """Names with their weights: "cwd:3+skd:calibrated" or "cwd"; None where none is given.

    Raises:
        SettingsError: an unknown name, one named twice, or a weight that is neither a number >= 0
            nor "calibrated".
    """
    weights: dict[str, float | str | None] = {}
    for part in distillation.split("+"):
        name, colon, text = (piece.strip() for piece in part.partition(":"))
        if name not in available():
            raise SettingsError(
                f"distillation: {name!r} is no distiller; {nearest_name(name, available())}",
                names=["distillation"],
            )
        if name in weights:
            raise SettingsError(
                f"distillation: {name} is named twice in {distillation!r}; expected once.",
                names=["distillation"],
            )
        weights[name] = _weight(name, text) if colon else None
    return weights


def distiller_settings(name: str) -> dict[str, Any]:
    """Settings of a distiller with their defaults, weight included."""
    from labkit.distillers.base import settings_of

    return settings_of(_distiller_class(name))


def distiller_facts(name: str) -> dict[str, Any]:
    """A row of the table of distillers.

    Returns:
        name; kind ("logits", "features" or both); tap; weight, the default; summary, one line.
    """
    settings, distiller = distiller_settings(name), _distiller_class(name)
    return {
        "name": name,
        "kind": distiller.kind,
        "tap": ", ".join(_taps(distiller.kind, settings)),
        "weight": settings["weight"],
        "summary": (inspect.getdoc(distiller) or "").partition("\n")[0],
    }


def _taps(kind: str, settings: Mapping[str, Any]) -> list[str]:
    features = [f"encoder stage {settings['stage']}"] if "features" in kind else []
    return [*features, "logits"] if "logits" in kind else features


def resolve_distillation(
    distillation: str, options: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Every setting of every distiller named, with its final value.

    Args:
        distillation: as for `parse_distillation`.
        options: "name.setting" -> value; text is converted to the default's type.

    Raises:
        SettingsError: an unknown name, an option of a distiller that is not named, or a value of
            another type. All faults at once.
    """
    weights = parse_distillation(distillation)
    settings = {name: distiller_settings(name) for name in weights}
    known = {f"{name}.{setting}" for name, values in settings.items() for setting in values}
    faults = []
    for name, weight in weights.items():
        if weight is not None:
            settings[name]["weight"] = weight
    for key, value in options.items():
        name, _, setting = key.partition(".")
        if key not in known:
            faults.append(f"distiller option {key}: unknown; {nearest_name(key, known)}")
        elif setting == "weight" and weights[name] is not None:
            faults.append(f"distiller option {key}: the weight is also given by {distillation!r}.")
        elif setting == "weight" and value == CALIBRATED:
            settings[name]["weight"] = CALIBRATED
        else:
            try:
                settings[name][setting] = _converted(value, settings[name][setting])
            except ValueError as fault:
                faults.append(f"distiller option {key}: {fault}")
    if faults:
        raise SettingsError("\n".join(faults), names=["distillation"])
    return settings


def build_distiller(
    distillation: str,
    options: Mapping[str, Any],
    *,
    student: "Outputs",
    teacher: "Outputs",
    seed: int,
) -> "Distiller":
    """The distillers of a text as one; its terms are named after them.

    Args:
        distillation: as for `parse_distillation`.
        options: as for `resolve_distillation`.
        student, teacher: example Outputs of both networks, from which adapters are sized.
        seed: of the adapters' weights and of what a distiller draws in training. A distiller's
            draws do not depend on the others named.

    Returns:
        A Distiller on the device of the student's logits. Calibrated weights are NaN until
        `set_weights`.

    Raises:
        SettingsError: as `resolve_distillation`, or a value is out of range for these networks.
    """
    import torch

    from labkit.distillers.combined import DistillerSum
    from labkit.method import stream_seed

    parts = []
    for name, settings in resolve_distillation(distillation, options).items():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(f"distiller {name}", seed))
            try:
                part = _distiller_class(name)(student, teacher, **_numeric(settings))
            except ValueError as fault:
                message = f"distillation: {name}: {fault}"
                raise SettingsError(message, names=["distillation"]) from fault
        part.seed = seed
        if settings["weight"] == CALIBRATED:
            part.weight = math.nan
        parts.append(part)
    return DistillerSum(parts).to(student.logits.device)


def _distiller_class(name: str) -> type:
    """The one subclass of Distiller that a file defines."""
    from labkit.distillers.base import Distiller

    module = importlib.import_module(f"{__name__}.{name}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Distiller)
        and value.__module__ == module.__name__
    ]
    if len(classes) != 1:
        raise TypeError(f"{module.__name__} defines {len(classes)} distillers; expected one.")
    return classes[0]


def _numeric(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without a weight that is still to be measured."""
    return {name: value for name, value in settings.items() if value != CALIBRATED}


def _weight(name: str, text: str) -> float | str:
    if text == CALIBRATED:
        return CALIBRATED
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 0 <= weight < math.inf:
        raise SettingsError(
            f"distillation: the weight of {name} is {text!r}; "
            "expected a finite number of at least 0, as in 'cwd:3', or 'cwd:calibrated'.",
            names=["distillation"],
        )
    return weight


def _converted(value: Any, default: Any) -> Any:
    """The value in its default's type; numbers and true/false may come as text."""
    kind = type(default)
    if kind is bool:
        text = str(value).strip().lower()
        if text not in ("true", "false"):
            raise ValueError(f"got {value!r}; expected true or false.")
        return text == "true"
    if isinstance(value, bool) or (kind is str and not isinstance(value, str)):
        raise ValueError(f"got {value!r}; expected {kind.__name__}.")
    try:
        converted = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"got {value!r}; expected {kind.__name__}.") from None
    if kind is int and not isinstance(value, str) and converted != value:
        raise ValueError(f"got {value!r}; expected a whole number.")
    if kind is float and not math.isfinite(converted):
        raise ValueError(f"got {value!r}; expected a finite number.")
    return converted
