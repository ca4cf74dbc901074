"""From settings to the run they make: everything that can be checked before a network is built."""

import contextlib
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any

from labkit.errors import LabkitError, SettingsError
from labkit.networks import encoder_weights_fingerprint
from labkit.records import Run, describe_run, find_run, runs_folder
from labkit.records.run import run_name
from labkit.settings import absolute_path, make_settings
from labkit.training.device import choose_device, choose_precision
from labkit.training.preflight import data_fingerprint


def plan_run(role: str, values: Mapping[str, Any], *, memory: MutableMapping | None = None) -> Run:
    """The run that a role and its settings make. Data files are checked, nothing is built.

    Args:
        role: "teacher" or "student".
        values: settings that differ from the recipe; `teacher` is a run id or folder.
        memory: for many calls: keeps fingerprints of data and weights between them.

    Raises:
        SettingsError: every fault of the settings and of the teacher, one a line.
        DataError: the data set's files are missing or malformed.
    """
    settings, teacher = _settings_of(role, values)
    memory = {} if memory is None else memory
    weights = weights_source(settings.encoder_weights)
    if weights not in memory:
        memory[weights] = encoder_weights_fingerprint(weights)
    identity = {"data": data_fingerprint(settings, memory=memory), "weights": memory[weights]}
    return describe_run(settings, identity, teacher)


def _settings_of(role: str, values: Mapping[str, Any]) -> tuple[Any, Run | None]:
    """`check_settings`; networks are not looked up, which takes seconds, where a run of this
    network and seed was started: its names were looked up then.
    """
    with contextlib.suppress(LabkitError):
        settings, teacher = check_settings(role, values, check_network=False)
        if any(runs_folder(settings.runs).glob(f"{run_name(settings)}-*/manifest.json")):
            return settings, teacher
    return check_settings(role, values)


def check_settings(
    role: str,
    values: Mapping[str, Any],
    *,
    taught_by: str | None = None,
    check_network: bool = True,
) -> tuple[Any, Run | None]:
    """Final settings of a run with its precision resolved, and its teacher; no data are read.

    Args:
        taught_by: kind of the teacher ("plain" or "assisted") where it is still to be trained.
        check_network: as for `make_settings`.

    Raises:
        SettingsError: every fault of every kind, one a line.
    """
    faults: list[str] = []
    names: set[str] = set()
    values = dict(values)
    teacher = None
    if role == "student" and values.get("teacher"):
        with _collect(faults, names):
            teacher = find_teacher(str(values["teacher"]), str(values.get("runs", "runs")))
        taught_by = teacher.kind if teacher else taught_by or "assisted"
    settings = None
    with _collect(faults, names):
        settings = make_settings(role, values, taught_by=taught_by, check_network=check_network)
    if settings is not None:
        with _collect(faults, names):
            precision = choose_precision(settings.precision, choose_device(settings.device))
            settings = settings.model_copy(update={"precision": precision})
        if teacher:
            with _collect(faults, names):
                check_teacher(settings, teacher)
    if faults:
        raise SettingsError("\n".join(dict.fromkeys(faults)), names=names)
    return settings, teacher


def find_teacher(name: str, runs: str) -> Run:
    """A complete teacher by run id or folder.

    Raises:
        RecordError: no such run, or it is not complete.
        SettingsError: it is a student, or lies in another runs folder.
    """
    teacher = find_run(name, runs)
    if teacher.role != "teacher":
        raise SettingsError(
            f"setting teacher: {teacher.run_id} is a student; expected a teacher's run.",
            names=["teacher"],
        )
    if teacher.folder.resolve().parent != runs_folder(runs).resolve():
        raise SettingsError(
            f"setting teacher: {teacher.run_id} is in another runs folder; expected it beside the "
            "student's. Copy it, or set runs.",
            names=["teacher"],
        )
    return teacher


def check_teacher(settings: Any, teacher: Run) -> None:
    """Refuse a teacher of another data set, or one that cannot read the codes it would be given.

    Raises:
        SettingsError: with both values.
    """
    if teacher.settings.dataset != settings.dataset:
        raise SettingsError(
            f"setting teacher: {teacher.run_id} was trained on {teacher.settings.dataset}; "
            f"expected {settings.dataset}.",
            names=["teacher"],
        )
    check_compatibility(settings, teacher.settings)


def check_compatibility(student: Any, teacher: Any) -> None:
    """Refuse a student's settings that those of its teacher do not allow.

    Raises:
        SettingsError: fixed codes for a teacher of several label channels, random
            ones for a teacher that was trained with fixed ones, or a start from the weights of
            another network.
    """
    if student.start_from_teacher:
        networks = [f"{of.architecture}/{of.encoder}" for of in (student, teacher)]
        if networks[0] != networks[1]:
            raise SettingsError(
                f"setting start_from_teacher: got yes; the teacher's network is {networks[1]}, "
                f"the student's {networks[0]}. Choose one network for both, or leave it out.",
                names=["start_from_teacher"],
            )
    if teacher.kind == "assisted":
        _check_codes(student.distillation_codes, teacher)


def _check_codes(distillation_codes: str, teacher: Any) -> None:
    if distillation_codes == "fixed" and teacher.label_channels > 1:
        raise SettingsError(
            "setting distillation_codes: got fixed, which is one code; the teacher reads "
            f"{teacher.label_channels} label channels. Use random.",
            names=["distillation_codes"],
        )
    if distillation_codes == "random" and teacher.class_codes == "fixed":
        raise SettingsError(
            "setting distillation_codes: got random; the teacher was trained with "
            "class_codes=fixed. Use fixed.",
            names=["distillation_codes"],
        )


def weights_source(encoder_weights: str) -> str:
    """The setting `encoder_weights`, a path made absolute from the project's root."""
    named = encoder_weights in ("none", "imagenet")
    return encoder_weights if named else str(absolute_path(encoder_weights))


@contextlib.contextmanager
def _collect(faults: list[str], names: set[str]) -> Iterator[None]:
    """Keep the message of an expected error and go on."""
    try:
        yield
    except LabkitError as error:
        faults.append(str(error))
        names |= getattr(error, "names", frozenset())
