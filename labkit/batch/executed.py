"""The notebooks of `labkit run`, and whether one was executed for a run as it is now."""

import json
from pathlib import Path
from typing import Any

from labkit.settings.base import Settings
from labkit.settings.views import (
    AttributionSettings,
    DistillersSettings,
    NoisingSettings,
    ResultsSettings,
)

NOTEBOOKS = {
    "noising": "00_label_noising",
    "teacher": "01_teacher_training",
    "student": "02_student_distillation",
    "results": "03_results",
    "attribution": "04_attribution",
    "distillers": "05_distillers",
}
VIEWS: dict[str, type[Settings]] = {
    "noising": NoisingSettings,
    "results": ResultsSettings,
    "attribution": AttributionSettings,
    "distillers": DistillersSettings,
}


def was_executed(executed: Path, facts: dict[str, Any]) -> bool:
    """Whether a notebook is there in which every cell ran, with these facts."""
    try:
        content = json.loads(executed.read_text(encoding="utf-8"))
        return content["metadata"]["labkit"] == {"complete": True} | facts
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
