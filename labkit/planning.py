"""What will be run, checked as far as it can be before anything is built: settings, parts, teacher, files."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import Any

from labkit.config import AnalysisSettings, NoisingSettings, Settings, SettingsError, StudentSettings, TeacherSettings, TrainSettings
from labkit.datasets import DataError, dataset_info, dataset_recipe, preflight
from labkit.engine import choose_device
from labkit.models import check_names
from labkit.recipes import refuse_idle, repeated_ramp, resolve
from labkit.records import RecordError, Run, describe_run, find_run, runs_folder


def checked(kind: type[Settings], values: Mapping[str, Any], *, taught_by: str | None = None) -> Settings:
    """Settings of one notebook, checked as far as can be without data: names, types, ranges, contradictions, parts, teacher.

    Args:
        taught_by: method of the teacher a student will have, where that is still to be trained.

    Raises:
        SettingsError: every fault, one a line.
    """
    faults: list[str] = []
    try:
        settings = kind(**values)
    except SettingsError as error:
        faults.append(str(error))
        sound = {name: value for name, value in values.items() if name not in error.names}
        settings = kind(**sound)  # the rest is looked at too, so that one message holds every fault
    if isinstance(settings, TeacherSettings | StudentSettings):
        _check_run(settings, faults, taught_by)
    else:
        with _noted(faults):
            _check_view(settings)
    if hasattr(settings, "device"):
        with _noted(faults):
            choose_device(settings.device)
    if faults:
        raise SettingsError("\n".join(dict.fromkeys(faults)))
    return settings


def _check_run(settings: TeacherSettings | StudentSettings, faults: list[str], taught_by: str | None) -> None:
    """Note every fault of a run's settings; an unknown data set or recipe hides none that can be seen without it."""
    recipe = None
    with _noted(faults):
        recipe = dataset_recipe(settings.dataset, settings.recipe)
        resolve(settings, recipe)
    given = {name: getattr(settings, name) for name in ("architecture", "encoder", "encoder_weights")}
    parts = {name: getattr(recipe, name, None) if value == "recipe" else value for name, value in given.items()}
    with _noted(faults):
        check_names(parts["architecture"], parts["encoder"])
    if parts["encoder_weights"] not in (None, "none", "imagenet") and not os.path.isfile(parts["encoder_weights"]):
        faults.append(f"setting encoder_weights: got {parts['encoder_weights']!r}; expected none, imagenet or a file that exists.")
    with _noted(faults):
        teacher = find_teacher(settings) if isinstance(settings, StudentSettings) and settings.teacher else None
        if recipe:
            refuse_idle(settings, recipe, taught_by=teacher.method if teacher else taught_by)


def _check_view(settings: Settings) -> None:
    if isinstance(settings, NoisingSettings):
        dataset_recipe(settings.dataset, settings.recipe)
        if fault := next(repeated_ramp(settings.model_dump()), ""):
            raise SettingsError(fault)
    elif isinstance(settings, AnalysisSettings):
        info = dataset_info(settings.dataset)
        if settings.category not in info.class_names:
            raise SettingsError(f"setting category: got {settings.category!r}; {info.name} has {', '.join(info.class_names)}.")


@contextlib.contextmanager
def _noted(faults: list[str]) -> Iterator[None]:
    """Keep an expected error's words and go on."""
    try:
        yield
    except (SettingsError, RecordError, DataError) as error:
        faults.append(str(error))


def planned_run(settings: TeacherSettings | StudentSettings) -> Run:
    """The run these settings make, recipe filled in and teacher found; nothing is built or written.

    Raises:
        SettingsError, RecordError: a setting out of range, no such recipe, or no complete teacher of that name.
    """
    recipe = dataset_recipe(settings.dataset, settings.recipe)
    resolved = resolve(settings, recipe)
    teacher = find_teacher(settings) if isinstance(settings, StudentSettings) and settings.teacher else None
    refuse_idle(settings, recipe, taught_by=teacher.method if teacher else None)
    return describe_run(resolved, teacher)


def find_teacher(settings: StudentSettings) -> Run:
    """The complete run that teaches a student.

    Raises:
        SettingsError, RecordError: there is none of that name, or it cannot teach this student.
    """
    teacher = find_run(settings.teacher, settings.runs)
    if teacher.role != "teacher":
        raise SettingsError(f"setting teacher: {teacher.run_id} is a student; expected a teacher's run.")
    if teacher.folder.parent != runs_folder(settings.runs).resolve():
        raise SettingsError(f"setting teacher: {teacher.run_id} is in another runs folder; expected it beside the student's. Copy it.")
    if teacher.settings.dataset != settings.dataset:
        raise SettingsError(f"setting teacher: {teacher.run_id} was trained on {teacher.settings.dataset}; expected {settings.dataset}.")
    refuse_strange_weights(settings, teacher.settings)
    return teacher


def refuse_strange_weights(student: StudentSettings, teacher: TeacherSettings) -> None:
    """Refuse class weights an assisted teacher cannot be shown while it distils; a plain one is shown none.

    Raises:
        SettingsError: the ramp for a teacher of several codes, or random weights for one that was trained with the ramp.
    """
    if teacher.method == "none":
        return
    if student.distill_weights == "fixed" and teacher.label_channels > 1:
        raise SettingsError("setting distill_weights: got fixed; the ramp is one code, and the teacher reads several. Use random.")
    if student.distill_weights == "random" and teacher.weights == "fixed":
        raise SettingsError(
            "setting distill_weights: got random; the teacher was trained with weights=fixed and has only ever seen the ramp. Use fixed."
        )


def look_through(settings: TrainSettings | NoisingSettings | AnalysisSettings, split: str) -> None:
    """Check every file of a split; what was found sound is remembered beside the runs."""
    preflight(settings.dataset, split, root=settings.data_root, cache=runs_folder(settings.runs) / ".preflight")
