"""Folders of runs and figures."""

from pathlib import Path

from labkit.settings import absolute_path


def runs_folder(runs: str = "runs") -> Path:
    """Return the folder of run folders; a relative one starts at the project's root."""
    return absolute_path(runs or "runs")


def figures_folder(figures: str, runs: str, stem: str) -> Path:
    """Return where figures go: as given, or <runs>/figures/<stem>."""
    return absolute_path(figures) if figures else runs_folder(runs) / "figures" / stem
