"""The table of all settings of a role, for `labkit settings`."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from labkit.settings.base import range_text
from labkit.settings.fields import KINDS


class SettingRow(NamedTuple):
    """One setting.

    Attributes:
        name: as `--set` takes it.
        kinds: kinds of the role that have it; all of them for a common setting.
        default: of the class; None where a value is required.
        range: accepted values, "" for a free text.
        description: meaning and unit.
        recipe: the data set's own value, None where the recipe has none.
    """

    name: str
    kinds: tuple[str, ...]
    default: Any
    range: str
    description: str
    recipe: Any = None


def settings_table(
    role: str, *, dataset: str = "", recipe: str = "default", data_root: str = ""
) -> list[SettingRow]:
    """Return every setting of a role in the order of its declaration.

    Args:
        role: teacher or student.
        dataset: whose recipe is shown beside the defaults; "": none, and torch is not imported.

    Raises:
        SettingsError: no such data set or recipe.
    """
    offered: dict[str, Any] = {}
    if dataset:
        from labkit.datasets import dataset_recipe  # torch, late

        offered = dict(dataset_recipe(dataset, recipe, root=data_root))
    kinds = [settings for settings in KINDS if settings.role == role]
    rows: dict[str, SettingRow] = {}
    for settings in kinds:
        for name, field in settings.model_fields.items():
            having = tuple(kind.kind for kind in kinds if name in kind.model_fields)
            default = None if field.is_required() else field.default
            value = offered.get(f"{role}.{name}", offered.get(name))
            row = SettingRow(name, having, default, range_text(field), field.description, value)
            rows.setdefault(name, row)
    return [*rows.values(), *(_assisted() if role == "teacher" else _options(offered))]


def _assisted() -> Iterator[SettingRow]:
    """Yield the setting that chooses a teacher's kind."""
    meaning = "the teacher reads image and noised label; no: a plain teacher"
    yield SettingRow("assisted", ("plain", "assisted"), True, "yes, no", meaning)


def _options(offered: Mapping[str, Any]) -> Iterator[SettingRow]:
    """Yield the recipe's options of distillers."""
    for name, value in offered.items():
        distiller, dot, _ = name.partition(".")
        if dot and distiller not in ("teacher", "student"):
            meaning = f"setting of the distiller {distiller}"
            yield SettingRow(name, ("of-plain", "of-assisted"), None, "", meaning, value)
