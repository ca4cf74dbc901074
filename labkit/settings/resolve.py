"""Final settings: class defaults < the data set's recipe < given values; and their digest."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from labkit.errors import SettingsError
from labkit.settings.base import echo, echo_name, find_faults, unknown_setting
from labkit.settings.distillation import final_distillation
from labkit.settings.fields import (
    KINDS,
    LATER_FIELDS,
    LOCAL_FIELDS,
    AssistedStudentSettings,
    DistilledStudentSettings,
    PlainTeacherSettings,
    StudentSettings,
    TeacherSettings,
    TrainSettings,
)
from labkit.settings.paths import absolute_path

ROLES = ("teacher", "student")
FIELDS = {  # role -> field name -> the class that declares its default
    role: {
        name: settings
        for settings in KINDS
        if settings.role == role
        for name in settings.model_fields
    }
    for role in ROLES
}
ALL_FIELDS = FIELDS["teacher"].keys() | FIELDS["student"].keys()
STUDENTS = {
    None: StudentSettings,
    "plain": DistilledStudentSettings,
    "assisted": AssistedStudentSettings,
}
REASONS = {  # why a setting of the role does not apply to the kind
    "plain": "a plain teacher reads no label. Use assisted=true, or leave it out",
    "alone": "a student alone has no teacher. Set teacher, or leave it out",
    "of-plain": "a plain teacher reads no label. Take an assisted teacher, or leave it out",
}


def make_settings(
    role: str,
    values: Mapping[str, Any],
    *,
    taught_by: str | None = None,
    check_network: bool = True,
) -> TrainSettings:
    """Return the final settings of a run, of the class that its role and kind have.

    Args:
        role: teacher or student.
        values: by name; texts are converted. "teacher.x" and "student.x" reach that role alone,
            "assisted" (yes or no, default yes) is a teacher's kind, "cwd.temperature" an option of
            a student's distiller. None stands for "not given".
        taught_by: kind of a student's teacher: plain, assisted, or None for a student alone.
        check_network: refuse networks that do not exist, which loads smp and timm.

    Raises:
        SettingsError: unknown names, values outside their range, values that do not apply to the
            kind, contradictions and unknown networks or distillers; one line each.
        DataError: the data set's own description cannot be read.
    """
    given = _for_role(role, {name: value for name, value in values.items() if value is not None})
    kind = _teacher_kind(given) if role == "teacher" else STUDENTS[taught_by]
    if kind.kind == "alone" and given.get("teacher") == "":
        given.pop("teacher")
    recipe_name = f"recipe {given.get('recipe', 'default')} of {given.get('dataset', 'streets')}"
    recipe = _for_role(role, _recipe(given), of=recipe_name)
    faults = dict(_not_applicable(kind, given, recipe))
    final = {name: value for name, value in (recipe | given).items() if name in kind.model_fields}
    _drop_idle(kind, final, given)
    for name, line in find_faults(kind, final).items():
        from_recipe = name in recipe and name not in given
        faults[name] = f"{recipe_name}: {line}" if from_recipe else line
    if faults:
        raise SettingsError("\n".join(faults.values()), names=filter(None, faults))
    settings = kind(**final)
    if check_network:
        _check_network(settings.architecture, settings.encoder)
    _check_weights(settings.encoder_weights)
    if isinstance(settings, DistilledStudentSettings):
        settings = _with_distillation(settings, recipe, given)
    return settings


def hashed_settings(settings: TrainSettings) -> dict[str, Any]:
    """Return the settings that change the result, by name: what a run's config.json holds.

    Those of `LATER_FIELDS` are left out while they have the default of the class. A path in
    `encoder_weights` becomes "file"; the identity of the run holds the file's hash.

    Raises:
        SettingsError: precision is still auto.
    """
    if settings.precision == "auto":
        raise SettingsError(
            "setting precision: got auto; expected fp32 or bf16 before a run gets its id.",
            names=["precision"],
        )
    fields = type(settings).model_fields
    values = {
        name: value
        for name, value in settings.model_dump(exclude=set(LOCAL_FIELDS)).items()
        if name not in LATER_FIELDS or value != fields[name].default
    }
    if values["encoder_weights"] not in ("none", "imagenet"):
        values["encoder_weights"] = "file"
    return values


def settings_digest(settings: TrainSettings, extra: Mapping[str, Any]) -> str:
    """Return SHA-256, hex, of role, kind, all settings that change the result, and `extra`.

    Raises:
        SettingsError: precision is still auto.
    """
    config = {"role": settings.role, "kind": settings.kind, "settings": hashed_settings(settings)}
    return content_digest(config | dict(extra))


def content_digest(values: Mapping[str, Any]) -> str:
    """Return SHA-256, hex, of a JSON object; the order of its names does not count."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _for_role(role: str, values: Mapping[str, Any], *, of: str = "") -> dict[str, Any]:
    """Return the values that reach a role, without prefix; "teacher.x" stands over "x".

    Raises:
        SettingsError: a name that no role has; `of` is the recipe it is in.
    """
    plain, own, faults = {}, {}, {}
    for full, value in values.items():
        prefix, dot, name = full.partition(".")
        prefixed = bool(dot) and prefix in ROLES
        known = FIELDS[prefix].keys() if prefixed else ALL_FIELDS
        bare = name if prefixed else full
        option = "." in bare and (not prefixed or prefix == "student")
        if bare not in known and not option and not (bare == "assisted" and not of):
            where = f"{of}: " if of else ""
            what = f"a {prefix}" if prefixed else f"a {role}"
            listed = FIELDS[prefix if prefixed else role].keys()
            faults[full] = where + unknown_setting(bare, listed, of=what)
        elif prefixed and prefix == role:
            own[name] = value
        elif not prefixed:
            plain[full] = value
    if faults:
        raise SettingsError("\n".join(faults.values()), names=faults)
    return plain | own


def _teacher_kind(given: dict[str, Any]) -> type[TrainSettings]:
    """Take `assisted` out of the given values; return the class it asks for."""
    value = given.pop("assisted", True)
    text = str(value).strip().lower() if isinstance(value, (bool, str, int)) else ""
    if text in ("true", "yes", "1", "on"):
        return TeacherSettings
    if text in ("false", "no", "0", "off"):
        return PlainTeacherSettings
    raise SettingsError(
        f"setting assisted: got {echo(value)}; expected yes or no (the teacher reads the label).",
        names=["assisted"],
    )


def _recipe(given: Mapping[str, Any]) -> dict[str, Any]:
    from labkit.datasets import dataset_recipe  # torch, late

    head = {name: given[name] for name in ("dataset", "recipe", "data_root") if name in given}
    faults = find_faults(TrainSettings, head)
    if faults:
        raise SettingsError("\n".join(faults.values()), names=faults)
    source = TrainSettings(**head)
    return dict(dataset_recipe(source.dataset, source.recipe, root=source.data_root))


def _not_applicable(
    kind: type[TrainSettings], given: Mapping[str, Any], recipe: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield name and fault line of each given value that the kind has no use for.

    A value equal to the one it would have by default expects nothing: a notebook's parameters cell
    writes all of its values out.
    """
    for name, value in given.items():
        option = "." in name
        if name in kind.model_fields or (option and issubclass(kind, DistilledStudentSettings)):
            continue
        if _has_default(kind.role, name, value, recipe):
            continue
        reason = REASONS.get(kind.kind, "")
        if name not in FIELDS[kind.role] and not (option and kind.role == "student"):
            other = "student" if kind.role == "teacher" else "teacher"
            reason = f"it is a setting of a {other}. Write {other}.{name}, or leave it out"
        yield (
            name,
            f"setting {echo_name(name)}: got {echo(value)}, which does not apply: {reason}.",
        )


def _has_default(role: str, name: str, value: Any, recipe: Mapping[str, Any]) -> bool:
    """Return whether a value is the one of the recipe or, without one, of the class."""
    declared = FIELDS[role].get(name)
    if declared is None:
        return name in recipe and str(value) == str(recipe[name])
    field = declared.model_fields[name]
    if field.is_required():
        return False
    try:
        final = TypeAdapter(field.annotation).validate_python(value)
    except ValidationError:
        return False
    return final == recipe.get(name, field.default)


def _drop_idle(kind: type[TrainSettings], final: dict[str, Any], given: Mapping[str, Any]) -> None:
    """Drop values of the recipe that another given value makes idle."""
    if (
        final.get("optimiser", kind.model_fields["optimiser"].default) != "sgd"
        and "momentum" not in given
    ):
        final.pop("momentum", None)
    if final.get("class_codes") == "fixed" and "class_std" not in given:
        final.pop("class_std", None)


@lru_cache(maxsize=512)  # a matrix of thousands of runs has few networks
def _check_network(architecture: str, encoder: str) -> None:
    from labkit.networks import check_names  # smp and timm, late

    check_names(architecture, encoder)


def _check_weights(weights: str) -> None:
    if weights not in ("none", "imagenet") and not absolute_path(weights).is_file():
        raise SettingsError(
            f"setting encoder_weights: got {echo(weights)}; expected none, imagenet or a file; "
            "a relative path starts at the project's root.",
            names=["encoder_weights"],
        )


def _with_distillation(
    settings: DistilledStudentSettings, recipe: Mapping[str, Any], given: Mapping[str, Any]
) -> DistilledStudentSettings:
    """Return the settings with weights and options of their distillers written out."""
    options = [
        dict(values.get("distiller_options", {}))
        | {name: values[name] for name in values if "." in name}
        for values in (recipe, given)
    ]
    distillation, final = final_distillation(
        settings.distillation, *options, weights_given="distillation" in given
    )
    return settings.replace(distillation=distillation, distiller_options=final)
