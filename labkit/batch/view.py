"""The progress of a matrix in lines of text, printed while it runs."""

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from labkit.batch.jobs import Job
from labkit.batch.status import Inspection, describe_last
from labkit.errors import LabkitError
from labkit.records.run import Run

SUMMARY_SECONDS = 30
STATES = ("done", "running", "failed", "stopped", "outdated", "waiting")
ALWAYS_COUNTED = ("done", "running", "failed")


class View:
    """Prints what changed since the last call, and every half minute how far everything is.

    Args:
        inspection: the matrix as it was before anything was started.
    """

    def __init__(self, inspection: Inspection) -> None:
        self.jobs = inspection.plan.jobs
        self.inspection = inspection
        self.began = self.printed = time.monotonic()
        self.before: dict[str, str] = {}
        self.since: dict[str, float] = {}
        self.at_start = 0.0
        self.logs = _Logs(inspection)

    def update(self, states: Mapping[str, str], last: Mapping[str, str]) -> None:
        """Print a line per job that began, ended or failed, and now and then the whole.

        Args:
            states: by key of the runs' jobs.
            last: by title of the jobs after the runs.
        """
        now = time.monotonic()
        found = {**states, **last}
        titles = {job.key: job.title for job in self.jobs} | {title: title for title in last}
        if not self.before:
            self.before, self.at_start = found, self._worked(states)
        for key, state in found.items():
            self._report_change(titles[key], self.before.get(key, "waiting"), state, key, now)
        self.before = found
        if now - self.printed >= SUMMARY_SECONDS:
            self.printed = now
            for line in self.lines(states, last):
                print(line, flush=True)

    def lines(self, states: Mapping[str, str], last: Mapping[str, str]) -> list[str]:
        """Counts and the time left, then one line per running job."""
        counts = Counter(states.values())
        counted = [f"{counts[s]} {s}" for s in STATES if counts[s] or s in ALWAYS_COUNTED]
        first = f"{', '.join(counted)} of {len(self.jobs)} runs"
        making = [title for title, state in last.items() if state == "running"]
        left = f"making the {making[0]}" if making else self._left(states, last)
        lines = [f"{first}; {left}" if left else first]
        running = [job for job in self.jobs if states[job.key] == "running"]
        return lines + [f"  {job.title}: {self.logs.describe(job)}" for job in running]

    def _report_change(self, title: str, old: str, new: str, key: str, now: float) -> None:
        if new == old:
            return
        if new == "running":
            self.since[key] = now
            print(f"{title}: started", flush=True)
        elif new in ("done", "failed"):
            after = f" after {now - self.since[key]:.0f} s" if key in self.since else ""
            print(f"{title}: {new if new == 'done' else 'FAILED'}{after}", flush=True)

    def _left(self, states: Mapping[str, str], last: Mapping[str, str]) -> str:
        """The time left at the pace so far; "" before there is a pace."""
        worked, whole = self._worked(states), float(sum(job.work for job in self.jobs))
        seconds = time.monotonic() - self.began
        if worked <= self.at_start or not self.before:
            return ""
        if whole - worked < 1e-9:
            return f"then {describe_last(last)}"
        minutes = (whole - worked) * seconds / (worked - self.at_start) / 60
        return f"{_duration(60 * minutes)} left for the runs"

    def _worked(self, states: Mapping[str, str]) -> float:
        """Work done so far, in weighed steps."""
        return sum(job.work * self._fraction(job, states[job.key]) for job in self.jobs)

    def _fraction(self, job: Job, state: str) -> float:
        if state == "done":
            return 1.0
        return self.logs.fraction(job) if state == "running" else 0.0


class _Logs:
    """What the logs of running jobs say."""

    def __init__(self, inspection: Inspection) -> None:
        self.inspection = inspection
        self._runs: dict[str, Run] = {}

    def fraction(self, job: Job) -> float:
        """Fraction of a job's steps that its log holds, 0 to 1."""
        return min(1.0, self._step(job) / job.resolved.train_steps)

    def describe(self, job: Job) -> str:
        """Step of how many, loss, last mIoU, and the time left."""
        rows, steps = self._rows(job), job.resolved.train_steps
        if not rows:
            return f"starting, {steps} steps"
        step = self._step(job)
        parts = [f"step {step} of {steps}"]
        loss = next((row["loss"] for row in reversed(rows) if _is_number(row.get("loss"))), None)
        parts += [f"loss {loss:.3f}"] if loss is not None else []
        scores = next(
            (row["miou"] for row in reversed(rows) if isinstance(row.get("miou"), dict)), {}
        )
        values = [f"{value:.1f}" for value in scores.values() if _is_number(value)]
        parts += [f"mIoU {'/'.join(values)}"] if values else []
        seconds = rows[-1].get("seconds")
        if step and _is_number(seconds):
            left = seconds * (steps - step) / step
            parts.append("scoring" if step == steps else f"{_duration(left)} left")
        return ", ".join(parts)

    def _step(self, job: Job) -> int:
        steps = [row["step"] for row in self._rows(job) if isinstance(row.get("step"), int)]
        return max(steps, default=0)

    def _rows(self, job: Job) -> list[dict[str, Any]]:
        try:
            run = self._runs.get(job.key) or self._find(job)
            return run.log_rows() if run else []
        except LabkitError:
            return []  # a damaged log is the job's to report

    def _find(self, job: Job) -> Run | None:
        run = self.inspection.run_now(job)
        if run:
            self._runs[job.key] = run
        return run


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
