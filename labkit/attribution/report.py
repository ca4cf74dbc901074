"""One call per figure of `04_attribution`: the values it draws, its table, its caption and its
alternative text.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from labkit.attribution import captions
from labkit.attribution.estimates import label_share_estimates
from labkit.attribution.frames import (
    GRADIENT_FRAMES,
    Frame,
    FrameMaps,
    default_layers,
    frame_maps,
    gradient_table,
    joint_maps,
    library_maps,
    open_frames,
    raw_maps,
    run_frames,
    share_by_location,
)
from labkit.attribution.noise_sweep import noise_sweep
from labkit.attribution.request import Request
from labkit.attribution.sanity import sanity_steps, steps_table
from labkit.errors import RecordError
from labkit.records import Run, find_run, runs_folder, scan_runs
from labkit.records.artifacts import record_artifact, save_arrays, save_figure, write_csv
from labkit.settings import AttributionSettings, numbers
from labkit.training.experiment import Experiment, load_experiment

PERCENTILE = 99.5  # of all maps of a figure: the upper end of their common scale


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
        """Of the drawn frames."""
        return [self.experiment.val_split.frame_name(i) for i in self.frames]

    def report(self, name: str, **parts: Any) -> "Report":
        """A report of this subject."""
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

    def save(self, folder: Path, draw: Callable[..., Figure] | None = None) -> Figure | None:
        """Write figure, table and arrays with their records, and return the figure.

        Args:
            folder: of the figures; arrays go to the run's own folder.
            draw: the figure's function in `labkit.plots`; None: no figure is drawn.
        """
        record = {"caption": self.caption, "runs": [self.run], "parameters": self.parameters}
        if self.table is not None:
            path = folder / f"{self.name}.csv"
            record_artifact(write_csv(path, list(self.table.columns), _rows(self.table)), **record)
        if self.arrays:
            save_arrays(self.run.folder / "attribution" / f"{self.name}.npz", self.arrays)
        if draw is None:
            return None
        figure = draw(**self.figure)
        save_figure(figure, folder / f"{self.name}.png", alt=self.alt, **record)
        return figure


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
    category = experiment.info.class_id(settings.category)
    frames = run_frames(experiment, category=category, count=settings.frames)
    return Subject(settings, experiment, category, tuple(frames))


def find_teacher(settings: AttributionSettings) -> Run:
    """The named run, or the first complete assisted teacher of the data set, by id.

    Raises:
        RecordError: none is complete, or the named run is no complete assisted teacher.
    """
    folder = runs_folder(settings.runs)
    if settings.teacher:
        run = find_run(settings.teacher, folder)
        if (run.role, run.kind) != ("teacher", "assisted"):
            raise RecordError(
                f"setting teacher: run {run.run_id} is a {run.role} ({run.kind}); "
                "expected an assisted teacher."
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


def maps_report(subject: Subject) -> Report:
    """Branch maps of the class, image and label in one scale."""
    frames = frame_maps(
        subject.experiment, subject.frames, category=subject.category, request=subject.request
    )
    category, limit = subject.settings.category, shared_limit(frames)
    table = share_by_location(frames)
    share = table.whole.mean()
    return subject.report(
        f"contribution_{category}",
        caption=captions.maps_caption(
            subject.experiment, subject.request, frames, category=category, limit=limit
        ),
        alt=f"Maps of image and label evidence for {category}; label share {share:.0f} percent on average.",
        figure={
            **_pictures(frames),
            **_branches(frames),
            "shares": [one.share for one in frames],
            "deviations": [one.deviation for one in frames],
            "category": category,
            "limit": limit,
        },
        table=table,
        arrays=raw_maps(frames),
    )


def library_report(subject: Subject) -> Report:
    """Our maps at the raw stem in one scale, beside the grad-cam library's."""
    request = Request(region=subject.settings.region, layer="raw", seed=subject.settings.seed)
    options = {"category": subject.category, "request": request}
    frames = frame_maps(subject.experiment, subject.frames, **options)
    library = library_maps(subject.experiment, subject.frames, **options)
    category = subject.settings.category
    return subject.report(
        f"library_{category}",
        caption=captions.library_caption(
            subject.experiment, request, category=category, frames=subject.frame_names
        ),
        alt=f"Maps of {category}: ours in one scale, and the library's, each with its own maximum at 1.",
        figure={
            "images": [one.image for one in frames],
            **_branches(frames),
            "library": library,
            "category": category,
            "limit": shared_limit(frames),
        },
    )


def layers_report(subject: Subject) -> Report:
    """Joint maps at deeper layers and their maximum."""
    layers = default_layers(subject.experiment, subject.settings.layers)
    request = subject.request
    options = {"category": subject.category, "request": request}
    joint = joint_maps(subject.experiment, subject.frames, layers=layers, **options)
    frames = open_frames(subject.experiment, subject.frames, category=subject.category)
    category = subject.settings.category
    return subject.report(
        f"layers_{category}",
        caption=captions.layers_caption(
            subject.experiment, category=category, frames=subject.frame_names, layers=layers
        ),
        alt=f"Maps of joint evidence for {category} at {len(layers)} layers, from the stem to the decoder, and their maximum.",
        figure={
            **_pictures(frames),
            "layers": {layer: [one.scaled[layer][0] for one in joint] for layer in layers},
            "strides": joint[0].strides,
            "combined": [one.combined[0] for one in joint],
        },
    )


def estimates_report(subject: Subject) -> Report:
    """Label share per class by three methods, over the split."""
    experiment, request = subject.experiment, subject.split_request
    table = label_share_estimates(
        experiment, experiment.val_split, frames=subject.settings.split_frames, request=request
    )
    return subject.report(
        "label_share",
        caption=captions.estimates_caption(experiment, request, table),
        alt="Dot plot of the label share of every class by LayerCAM, Shapley values and removal.",
        figure={"table": table},
        table=table,
    )


def gradients_report(subject: Subject) -> Report:
    """Integrated gradients on some frames; a table without a figure."""
    experiment, settings = subject.experiment, subject.settings
    frames = run_frames(experiment, category=subject.category, count=GRADIENT_FRAMES)
    steps = settings.gradient_steps
    return subject.report(
        "integrated_gradients",
        caption=captions.gradients_caption(
            experiment, subject.request, category=settings.category, steps=steps
        ),
        table=gradient_table(
            experiment, frames, category=subject.category, request=subject.request, steps=steps
        ),
    )


def sweep_report(subject: Subject) -> Report:
    """Reliance and label share over the noise of the label."""
    experiment, settings = subject.experiment, subject.settings
    request = subject.averaged_over(1)
    table = noise_sweep(
        experiment, experiment.val_split, pixel_stds=numbers(settings.pixel_stds),
        label_scales=numbers(settings.label_scales), frames=settings.curve_frames, request=request,
    )  # fmt: skip
    count = min(settings.curve_frames or len(experiment.val_split), len(experiment.val_split))
    return subject.report(
        "reliance",
        caption=captions.sweep_caption(experiment, request, frames=count),
        alt="Reliance, label gain and label share of one teacher over pixel noise and over label scale at evaluation.",
        figure={"table": table},
        table=table,
    )


def sanity_report(subject: Subject) -> Report:
    """Maps while weights are redrawn and while the label is permuted."""
    steps = sanity_steps(
        subject.experiment, subject.frames, category=subject.category,
        request=subject.request, seed=subject.settings.seed,
    )  # fmt: skip
    (frame,) = open_frames(subject.experiment, subject.frames[:1], category=subject.category)
    return subject.report(
        "sanity",
        caption=captions.sanity_caption(
            subject.experiment, category=subject.settings.category, frames=subject.frame_names
        ),
        alt="Rank correlation with the trained teacher's maps as weights are redrawn and as the label is permuted, and the maps.",
        figure={"outline": frame.outline, "steps": steps},
        table=steps_table(steps),
    )


def shared_limit(frames: list[FrameMaps]) -> float:
    """One upper limit for all maps of a figure: the 99.5th percentile of their finite values; 1
    where there are none.
    """
    maps = [values for one in frames for values in (one.image_map, one.label_map)]
    values = np.concatenate([one.numpy().ravel() for one in maps])
    if not np.isfinite(values).any():
        return 1.0
    return float(max(np.nanpercentile(values, PERCENTILE), 1e-12))


def _rows(table: pd.DataFrame) -> Iterator[list[Any]]:
    """Rows of a table; numbers to six significant digits, blank where there is no number."""
    for row in table.itertuples(index=False):
        yield [_cell(value) for value in row]


def _cell(value: Any) -> Any:
    if isinstance(value, float | np.floating):
        return None if np.isnan(value) else float(f"{value:.6g}")
    return value


def _pictures(frames: Sequence[Frame]) -> dict[str, list]:
    return {
        "images": [one.image for one in frames],
        "outlines": [one.outline for one in frames],
    }


def _branches(frames: Sequence[FrameMaps]) -> dict[str, list]:
    return {
        "image_maps": [one.image_map for one in frames],
        "label_maps": [one.label_map for one in frames],
    }
