"""Settings and a data set's recipe become what a run computes: filled in, free of contradictions, and hashed."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.config import Recipe, SettingsError, TeacherSettings, TrainSettings

FROM_RECIPE: tuple[Any, ...] = (-1, "recipe")  # a setting with this value is filled in by the recipe

# Where and how fast a run happens is not what it computes: left out of every hash.
NOT_IN_THE_RECIPE = frozenset(
    {
        "data_root", "device", "workers", "threads", "runs", "log_every_steps", "evaluate_every_steps",
        "checkpoint_every_steps", "checkpoint_every_minutes",
    }
)  # fmt: skip

# Earlier runs were made so, before the setting existed: at this value it is left out of every hash, and their ids still hold.
CAME_LATER: dict[str, Any] = {"weights": "random"}


def resolve(settings: TrainSettings, recipe: Recipe) -> TrainSettings:
    """Settings with every recipe value filled in and checked against the recipe's ranges and against each other.

    Raises:
        SettingsError: every value outside the recipe's range for its name, and every contradiction.
    """
    steps = recipe.teacher_steps if isinstance(settings, TeacherSettings) else recipe.student_steps
    offered = recipe.model_dump() | {"train_steps": steps}
    given = settings.model_dump()
    filled = {name: offered[name] for name, value in given.items() if value in FROM_RECIPE and name in offered}
    final = given | filled
    faults = [*_out_of_range(final, recipe), *_contradictions(final)]
    faults += [f"setting {name}: got {value}; expected a value of its own." for name, value in final.items() if value in FROM_RECIPE]
    if given["momentum"] not in (-1, recipe.momentum) and final["optimiser"] != "sgd":
        faults.append(f"setting momentum: got {given['momentum']}, which means nothing with optimiser={final['optimiser']}. Leave it out.")
    if faults:
        raise SettingsError("\n".join(faults))
    return settings.model_copy(update=filled)


def _out_of_range(final: dict[str, Any], recipe: Recipe) -> Iterator[str]:
    overrides = {name: value for name, value in final.items() if name in Recipe.model_fields}
    try:
        Recipe(**(recipe.model_dump() | overrides))
    except SettingsError as error:
        yield str(error)
    if final["train_steps"] == 0:
        yield "setting train_steps: got 0; expected at least 1, or -1 for the data set's recipe."


def _contradictions(final: dict[str, Any]) -> Iterator[str]:
    if final["scale_min"] > final["scale_max"]:
        yield f"setting scale_min: got {final['scale_min']}; expected at most scale_max, {final['scale_max']}."
    for side in ("height", "width"):
        crop, largest = final[f"crop_{side}"], round(final[side] * final["scale_max"])
        if crop > largest:
            yield f"setting crop_{side}: got {crop} pixels; expected at most {largest}, the image's {side} at the largest zoom."
    yield from repeated_ramp(final)


def repeated_ramp(values: Mapping[str, Any]) -> Iterator[str]:
    """The fault of asking for several label channels of the fixed ramp, by settings of any kind; none for a plain teacher."""
    if values.get("weights") == "fixed" and values["label_channels"] > 1 and values.get("method") != "none":
        yield "setting label_channels: more than 1 with weights=fixed; the ramp is one code. Use weights=random."


def idle_settings(settings: TrainSettings, *, taught_by: str | None) -> frozenset[str]:
    """Names of settings that mean nothing for this run: noising without a label to noise, a width of what is not drawn, distillation
    without a teacher.

    Args:
        taught_by: method of a student's teacher, None where there is none.
    """
    own = frozenset(type(settings).model_fields) - frozenset(TrainSettings.model_fields)
    if isinstance(settings, TeacherSettings):
        if settings.method == "none":
            return own - {"method"}
        return frozenset({"class_std"}) if settings.weights == "fixed" else frozenset()
    return {"lad": frozenset(), "none": frozenset({"distill_weights", "pixel_std"}), None: own}[taught_by]


def refuse_idle(settings: TrainSettings, recipe: Recipe, *, taught_by: str | None) -> None:
    """Refuse settings that were changed and yet mean nothing for this run: somebody expects of them what they cannot do.

    Args:
        settings: as given, before or after `resolve`.
        taught_by: method of a student's teacher, None where there is none.

    Raises:
        SettingsError: every such setting, with what makes it idle.
    """
    because = _why_idle(settings, taught_by)
    faults = {}
    for name in sorted(idle_settings(settings, taught_by=taught_by)):
        value, default = getattr(settings, name), type(settings).model_fields[name].default
        if value not in (default, getattr(recipe, name, default)):
            faults[name] = f"setting {name}: got {value!r}, which means nothing here: {because}, or leave {name} out."
    if faults:
        raise SettingsError("\n".join(faults.values()), names=faults)


def _why_idle(settings: TrainSettings, taught_by: str | None) -> str:
    if isinstance(settings, TeacherSettings):
        if settings.method == "none":
            return "a plain teacher reads no label; use method=lad"
        return "the fixed ramp is not drawn; use weights=random"
    if taught_by is None:
        return "a student alone has no teacher; set teacher"
    return "a plain teacher is shown no label; take an assisted one"


def settings_hash(settings: dict[str, Any], *, leave_out: frozenset[str] = frozenset()) -> str:
    """First 8 hex digits over what a run computes; device, folders and logging do not count."""
    counted = {name: value for name, value in settings.items() if name not in NOT_IN_THE_RECIPE | leave_out}
    kept = {name: value for name, value in counted.items() if (name, value) not in CAME_LATER.items()}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:8]
