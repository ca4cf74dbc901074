"""How far a matrix is, told while it runs."""

import time
from collections import Counter

from labkit.matrix import Job, Plan, progress_of

SUMMARY_SECONDS = 30
STATES = ("done", "running", "failed", "stopped", "outdated", "waiting")
ALWAYS_TOLD = ("done", "running", "failed")


class View:
    """Tells what changed since it was last called, and now and then the whole."""

    def __init__(self, planned: Plan) -> None:
        self.jobs = planned.jobs
        self.began = self.told = time.monotonic()
        self.before: dict[str, str] = {}
        self.since: dict[str, float] = {}
        self.at_start = 0.0

    def tell(self, found: dict[str, str]) -> None:
        """Print a line per job that began, ended or failed, and every half minute how far all is."""
        now = time.monotonic()
        if not self.before:
            self.before, self.at_start = found, self._worked(found)
        for job in self.jobs:
            old, new = self.before[job.key], found[job.key]
            if new == old:
                continue
            if new == "running":
                self.since[job.key] = now
                print(f"{job.title}: started", flush=True)
            elif new in ("done", "failed"):
                after = f" after {now - self.since[job.key]:.0f} s" if job.key in self.since else ""
                print(f"{job.title}: {new if new == 'done' else 'FAILED'}{after}", flush=True)
        self.before = found
        if now - self.told >= SUMMARY_SECONDS:
            self.told = now
            print(self.line(found), flush=True)

    def line(self, found: dict[str, str]) -> str:
        """Counts, what runs and how far, and the time left at the pace so far."""
        counts = Counter(found.values())
        told = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state] or state in ALWAYS_TOLD)
        running = [f"{job.title} {100 * progress_of(job):.0f} %" for job in self.jobs if found[job.key] == "running"]
        return "; ".join([f"{told} of {len(self.jobs)} runs", *running, *self._left(found)])

    def _left(self, found: dict[str, str]) -> list[str]:
        worked, whole = self._worked(found), sum(job.work for job in self.jobs)
        seconds = time.monotonic() - self.began
        if worked <= self.at_start or not self.before:
            return []
        return [f"about {(whole - worked) * seconds / (worked - self.at_start) / 60:.0f} min left"]

    def _worked(self, found: dict[str, str]) -> float:
        """Work done so far, in weighed steps."""
        return sum(job.work * self._part(job, found[job.key]) for job in self.jobs)

    @staticmethod
    def _part(job: Job, state: str) -> float:
        return 1.0 if state == "done" else progress_of(job) if state == "running" else 0.0
