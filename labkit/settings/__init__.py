"""Every setting declared once, with unit and range, and resolved against the data set's recipe."""

from labkit.settings.base import Settings, numbers
from labkit.settings.fields import (
    LOCAL_FIELDS,
    AssistedStudentSettings,
    DistilledStudentSettings,
    PlainTeacherSettings,
    StudentSettings,
    TeacherSettings,
    TrainSettings,
    settings_class,
)
from labkit.settings.paths import absolute_path, project_root
from labkit.settings.resolve import hashed_settings, make_settings, settings_digest
from labkit.settings.table import SettingRow, settings_table
from labkit.settings.text import parse_overrides, parse_sets
from labkit.settings.views import (
    AttributionSettings,
    DistillersSettings,
    EvaluateSettings,
    NoisingSettings,
    ResultsSettings,
)

__all__ = [
    "LOCAL_FIELDS",
    "AssistedStudentSettings",
    "AttributionSettings",
    "DistilledStudentSettings",
    "DistillersSettings",
    "EvaluateSettings",
    "NoisingSettings",
    "PlainTeacherSettings",
    "ResultsSettings",
    "SettingRow",
    "Settings",
    "StudentSettings",
    "TeacherSettings",
    "TrainSettings",
    "absolute_path",
    "hashed_settings",
    "make_settings",
    "numbers",
    "parse_overrides",
    "parse_sets",
    "project_root",
    "settings_class",
    "settings_digest",
    "settings_table",
]
