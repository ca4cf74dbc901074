"""Lines of the commands that list settings, networks and faults of data sets."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from labkit.batch.run_lists import refuse_others
from labkit.settings.table import settings_table


def settings_lines(role: str, values: Mapping[str, str]) -> Iterator[str]:
    """Lines for every setting of a role: value, default, range, which kinds have it, and meaning.

    Args:
        role: teacher or student.
        values: `dataset`, `recipe` and `data_root`: whose recipe is shown beside the defaults.

    Raises:
        SettingsError: another setting, or no such data set or recipe.
    """
    refuse_others(values, ("dataset", "recipe", "data_root"), f"labkit settings {role}")
    rows = settings_table(role, **values)
    width = max(len(row.name) for row in rows)
    kinds = max((row.kinds for row in rows), key=len)
    for row in rows:
        default = "(required)" if row.default is None else _text(row.default)
        value = default if row.recipe is None else f"{_text(row.recipe)} (recipe; else {default})"
        limits = f" [{row.range}]" if row.range else ""
        only = "" if len(row.kinds) == len(kinds) else f" ({', '.join(row.kinds)} alone)"
        yield f"{row.name:<{width}}  {value}{limits}  {row.description}{only}"
    if role == "student":
        yield "options of distillers, as --set NAME.OPTION=VALUE: labkit distillers"


def network_lines() -> Iterator[str]:
    """A table of the networks, each with a usual encoder, and what an encoder may be."""
    from labkit.networks import networks_table

    form = "{:<10} {:<24} {:>6} {:>12} {:>12} {:>6}  {}"
    yield form.format(
        "network", "encoder", "stride", "parameters", "inference", "GMAC", "auxiliary heads"
    )
    own = []
    for row in networks_table():
        sizes = (f"{row['parameters']:,}", f"{row['inference']:,}", row["gmac"])
        names = (row["architecture"], row["encoder"], row["stride"])
        yield form.format(*names, *sizes, row["auxiliary"])
        if row["own_encoders"]:
            own.append(f"{row['own_encoders']} ({row['architecture']} alone)")
    yield (
        "19 classes. stride: input pixels per logit; parameters with auxiliary heads and without; "
        "GMAC: 1e9 multiply-adds of convolutions at 512 x 1024."
    )
    yield f"encoder: any of smp, tu-<timm name>{''.join(f', {names}' for names in own)}"


def check_lines(
    dataset: str, root: str, *, splits: Sequence[str], as_json: bool
) -> tuple[bool, list[str]]:
    """Whether a data set's files have no fault, and the report's lines.

    Args:
        root: folder that holds the data sets; "" = environment variable LABKIT_DATA.
    """
    from labkit.datasets.check import check_dataset

    report = check_dataset(dataset, root, splits=splits, progress=not as_json)
    lines = [json.dumps(report.to_json(), indent=1)] if as_json else report.lines()
    return report.passed, lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or '""'
