"""Live training in a notebook: loss terms, mIoU, reliance and one frame's prediction as it trains.

Drawing waits until at least a hundred times its own duration has passed, so that it takes about one
percent of the training's time, whatever the machine.
"""

import contextlib
import html
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import ipywidgets
from IPython.display import display

from labkit.datasets import frames_batch
from labkit.explore.chart import chart
from labkit.explore.class_panels import class_legend, class_panel
from labkit.explore.markup import view_html
from labkit.explore.page import has_front_end
from labkit.explore.view import Panel, View, panel
from labkit.training.experiment import Experiment

SHARE = 0.01  # of the time, at most, that is spent drawing
QUIET_SECONDS = 1.0  # between two looks at the log
NOT_LOSSES = {"step", "seconds", "learning_rate", "waiting", "images_per_second", "miou"}


@contextlib.contextmanager
def live_training(experiment: Experiment) -> Iterator[Callable[[], None]]:
    """Show a run while it trains inside the block; nothing is shown without a front end.

    A fault while drawing ends the drawing, not the training; the box says what it was.

    Yields:
        What `fit` calls after every evaluation: it predicts one validation frame anew.
    """
    if not has_front_end():
        yield lambda: None
        return
    live = LiveView(experiment)
    display(live.box)
    thread = threading.Thread(
        target=live.unless_failed, args=(live.follow,), name="labkit-live", daemon=True
    )
    thread.start()
    try:
        yield lambda: live.unless_failed(live.predict)
    finally:
        live.ended.set()
        thread.join()
        live.unless_failed(live.draw)


class LiveView:
    """Pictures of a run's log, drawn by a thread of their own.

    Attributes:
        box: the widget that shows them.
        ended: set when training has ended, or drawing has failed.
        failed: whether a fault has ended the drawing.
        seconds: spent on drawing and on the extra predictions so far.
    """

    def __init__(self, experiment: Experiment) -> None:
        self._experiment = experiment
        self.box, self.ended, self.failed = ipywidgets.HTML(), threading.Event(), False
        self.seconds, self._begun, self._renders = 0.0, time.perf_counter(), 0
        self._evaluations = 0
        split, info = experiment.val_split, experiment.info
        size = experiment.settings.score_size
        self._batch = frames_batch(split, info, [0], resize=size, foreign=len(split) > 1)
        self._panels: tuple[Panel, ...] = (
            class_panel("label", self._batch.target[0], info, alt="True label", note="frame 0"),
        )

    def unless_failed(self, draw: Callable[[], Any]) -> None:
        """Call `draw`; after its first exception, which the box reports, do nothing."""
        if self.failed:
            return
        try:
            draw()
        except Exception as error:
            self.failed = True
            self.ended.set()
            text = html.escape(f"{type(error).__name__}: {error}")
            self.box.value = f'<p role="status">Not drawn any more: {text}. Training goes on.</p>'

    def predict(self) -> None:
        """Predict the frame with the network as it is now; called on the training's thread."""
        begun = time.perf_counter()
        network = self._experiment.network
        training = network.training
        network.eval()
        try:
            reading = next(iter(self._experiment.predictors()))
            ids = self._experiment.prediction(reading, self._batch)[0]
        finally:
            network.train(training)
        self._evaluations += 1
        note = f"evaluation {self._evaluations}, read: {reading.replace('_', ' ')}"
        info = self._experiment.info
        earlier = self._panels[1:][-1:]  # the one before, to see what changed
        new = class_panel("prediction", ids, info, alt=f"Prediction, {note}", note=note)
        self._panels = (self._panels[0], *earlier, new)
        self.seconds += time.perf_counter() - begun

    def follow(self) -> None:
        """Draw until training has ended."""
        wait = QUIET_SECONDS
        while not self.ended.wait(wait):
            wait = max(QUIET_SECONDS, self.draw() / SHARE)

    def draw(self) -> float:
        """Show the log as it is now; return the seconds that took."""
        begun = time.perf_counter()
        rows = self._experiment.run.log_rows()
        self._renders += 1
        self.box.value = view_html(self._view(rows), name="live", renders=self._renders)
        taken = time.perf_counter() - begun
        self.seconds += taken
        return taken

    def _view(self, rows: list[dict[str, Any]]) -> View:
        steps = self._experiment.settings.train_steps
        losses, scores = log_series(rows)
        step = max((row["step"] for row in rows), default=0)
        spent = 100 * self.seconds / max(time.perf_counter() - self._begun, 1e-9)
        last = {name: points[-1][1] for name, points in (losses | scores).items()}
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in last.items())
        panels = (
            _chart_panel("loss terms", losses, steps),
            _chart_panel("mIoU and reliance", scores, steps),
            *self._panels,
        )
        lines = (
            f"Step {step} of {steps}. {numbers}",
            f"Drawing took {spent:.1f} % of the time.",
        )
        return View(panels, lines, (), class_legend(self._experiment.info))


def log_series(
    rows: list[dict[str, Any]],
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[tuple[float, float]]]]:
    """Points (step, value) of every loss term, and of mIoU by reading and the reliance."""
    losses: dict[str, list[tuple[float, float]]] = {}
    scores: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name not in NOT_LOSSES and isinstance(value, int | float):
                losses.setdefault(name, []).append((row["step"], value))
        miou = row.get("miou", {})
        for name, value in miou.items():
            scores.setdefault(name.replace("_", " "), []).append((row["step"], value))
        if "foreign_label" in miou:
            reliance = miou["true_label"] - miou["foreign_label"]
            scores.setdefault("reliance", []).append((row["step"], reliance))
    return losses, scores


def _chart_panel(title: str, series: dict[str, list[tuple[float, float]]], steps: int) -> Panel:
    last = ", ".join(f"{name} {points[-1][1]:.3g}" for name, points in series.items())
    return panel(
        title, chart(series, last_x=steps), alt=f"{title} by step: {last or 'none yet'}.",
        pointable=False,
    )  # fmt: skip
