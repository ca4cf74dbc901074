"""What `04_attribution` explains (a teacher, a class, frames), and reports that save themselves."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit.attribution.frames import run_frames
from labkit.attribution.request import Request
from labkit.errors import RecordError
from labkit.records import Run, find_run, runs_folder, scan_runs
from labkit.records.artifacts import record_artifact, save_arrays, save_figure, write_csv
from labkit.settings import AttributionSettings
from labkit.training.experiment import Experiment, load_experiment


@dataclass(frozen=True)
class Subject:
    """An assisted teacher, the class and frames that are explained, and the settings of the
    notebook.
    """

    settings: AttributionSettings
    experiment: Experiment
    category: int
    frames: tuple[int, ...]  # of the validation split

    @property
    def request(self) -> Request:
        """The explained quantity of drawn maps, averaged over the notebook's noisings."""
        return self.averaged_over(self.settings.noisings)

    @property
    def split_request(self) -> Request:
        """The same for tables over the split."""
        return self.averaged_over(self.settings.split_noisings)

    @property
    def frame_names(self) -> list[str]:
        """Names of the drawn frames."""
        return [self.experiment.val_split.frame_name(i) for i in self.frames]

    def report(self, name: str, **parts: Any) -> "Report":
        """A report of this subject; its name may hold a class's, which may hold a slash."""
        name = re.sub(r"[^\w. -]", "_", name)
        return Report(name, run=self.experiment.run, parameters=self.settings.model_dump(), **parts)

    def averaged_over(self, noisings: int) -> Request:
        """The explained quantity, averaged over so many noisings."""
        settings = self.settings
        return Request(
            region=settings.region, score=settings.score, layer=settings.attribution_layer,
            seed=settings.seed, noisings=noisings,
        )  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The values behind one figure, and its text.

    Attributes:
        name: file name of figure and table, without suffix.
        figure: keyword arguments of the figure's function in `labkit.plots`.
        table: written as <name>.csv; None: there is none.
        arrays: unscaled maps, kept in the run's folder; empty: there are none.
    """

    name: str
    caption: str
    run: Run
    parameters: dict[str, Any]
    alt: str = ""
    figure: dict[str, Any] = field(default_factory=dict)
    table: pd.DataFrame | None = None
    arrays: dict[str, Any] = field(default_factory=dict)

    def save(self, folder: Path, draw: Callable[..., Figure] | None = None) -> Path:
        """Write figure, table and arrays with their records.

        Args:
            folder: of the figures; arrays go to the run's own folder.
            draw: the figure's function in `labkit.plots`; None: no figure is drawn.

        Returns:
            The figure's file, or the table's where there is no figure.
        """
        record = {"caption": self.caption, "runs": [self.run], "parameters": self.parameters}
        path = folder / f"{self.name}.csv"
        if self.table is not None:
            record_artifact(write_csv(path, list(self.table.columns), _rows(self.table)), **record)
        if self.arrays:
            save_arrays(self.run.folder / "attribution" / f"{self.name}.npz", self.arrays)
        if draw is None:
            return path
        return save_figure(draw(**self.figure), path.with_suffix(".png"), alt=self.alt, **record)


def open_subject(settings: AttributionSettings) -> Subject:
    """The assisted teacher that the settings name, its class and its frames.

    Raises:
        RecordError: there is no complete assisted teacher of the data set, or the named run is not
            one.
        DataError: no frame holds enough of the class.
    """
    run = find_teacher(settings)
    changes = {
        name: getattr(settings, name)
        for name in ("device", "threads", "data_root")
        if getattr(settings, name)
    }
    experiment = load_experiment(run, **changes)
    settings = settings.replace(category=experiment.info.category(settings.category))
    category = experiment.info.class_id(settings.category)
    frames = run_frames(experiment, category=category, count=settings.frames)
    return Subject(settings, experiment, category, tuple(frames))


def find_teacher(settings: AttributionSettings) -> Run:
    """The named run, or the first complete assisted teacher of the data set, by id.

    Raises:
        RecordError: none is complete, or the named run is no complete assisted teacher of the
            data set.
    """
    folder = runs_folder(settings.runs)
    if settings.teacher:
        run = find_run(settings.teacher, folder)
        if (run.role, run.kind) != ("teacher", "assisted"):
            raise RecordError(
                f"setting teacher: run {run.run_id} is a {run.role} ({run.kind}); "
                "expected an assisted teacher."
            )
        if run.settings.dataset != settings.dataset:
            raise RecordError(
                f"setting teacher: run {run.run_id} is of the data set {run.settings.dataset}; "
                f"expected {settings.dataset}. For that run: --set dataset={run.settings.dataset}."
            )
        return run
    runs = scan_runs(folder, dataset=settings.dataset).runs
    teachers = sorted(
        (run for run in runs if (run.role, run.kind) == ("teacher", "assisted")),
        key=lambda run: run.run_id,
    )
    if not teachers:
        raise RecordError(
            f"attribution: no complete assisted teacher of {settings.dataset} in {folder}. "
            f"First: labkit train teacher --set dataset={settings.dataset}."
        )
    return teachers[0]


def _rows(table: pd.DataFrame) -> Iterator[list[Any]]:
    """Rows of a table; numbers to six significant digits, blank where there is no number."""
    for row in table.itertuples(index=False):
        yield [_cell(value) for value in row]


def _cell(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(f"{value:.6g}")
    return value
