"""Folders that settings name: the project's root and paths relative to it."""

from pathlib import Path


def project_root() -> Path:
    """Return the nearest folder above this package that holds pyproject.toml.

    Never the working directory. Without a pyproject.toml: the folder that holds the package.
    """
    parents = Path(__file__).resolve().parents
    return next((parent for parent in parents if (parent / "pyproject.toml").is_file()), parents[2])


def expand_home(text: str) -> str:
    """Replace a leading `~` by the home folder; other texts are returned as they are.

    Raises:
        ValueError: the home folder of that user is unknown.
    """
    if not text.startswith("~"):
        return text
    try:
        return str(Path(text).expanduser())
    except RuntimeError as error:
        raise ValueError("a folder whose ~ stands for a known user's home") from error


def absolute_path(text: str) -> Path:
    """Return a path as given if absolute, else relative to the project's root."""
    return project_root() / expand_home(text)
