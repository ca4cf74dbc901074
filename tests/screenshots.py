"""`make screenshots`: windows of JupyterLab with every explorer, on street scenes, into
figures/explorers/.

Needs the teachers of `make demo` and a Chromium.
"""

import sys
import tempfile
from pathlib import Path

from labkit.settings.paths import project_root
from tests import lab

CODE = """\
from dataclasses import replace

from labkit import explore
from labkit.settings import {settings}

explorer = explore.{name}({settings}())
explore.show(replace(explorer, state=replace(explorer.state, **{changes!r})))
"""
SHOWN = {
    "noising": ("NoisingSettings", {"pixel_std": 0.2, "label_scale": 3.0}),
    "teacher": ("AttributionSettings", {"pixel_std": 0.05}),
    "contribution": ("AttributionSettings", {"noisings": 4}),
    "compare": ("AttributionSettings", {}),
    "distiller": ("DistillersSettings", {"bump": 4.0}),
}
PAGES = {  # suffix: width and height of the window, theme
    "": (1280, 800, "JupyterLab Light"),
    "_dark_800": (800, 1200, "JupyterLab Dark"),
}


def main() -> None:
    """Take them all."""
    if lab.chromium() is None:
        sys.exit("screenshots: no Chromium on the PATH and none named by LABKIT_CHROMIUM.")
    if not list((project_root() / "runs").glob("streets-teacher-assisted-*/manifest.json")):
        sys.exit("screenshots: no assisted teacher in runs. First: make demo.")
    target = project_root() / "figures" / "explorers"
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as private:
        for name, (settings, changes) in SHOWN.items():
            lab.write_cell(
                CODE.format(name=name, settings=settings, changes=changes),
                Path(folder) / f"{name}.ipynb",
            )
        with lab.jupyter_lab(Path(folder), Path(private)) as address, lab.browser_open() as browser:
            for name in SHOWN:
                for suffix, (width, height, theme) in PAGES.items():
                    print(
                        take(
                            lab.Notebook(browser, address, name, width=width, height=height),
                            theme,
                            target / f"{name}{suffix}.png",
                        )
                    )


def take(notebook: lab.Notebook, theme: str, path: Path) -> Path:
    """Run the notebook in a theme, write a picture of the window, and close it."""
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.command("notebook:hide-cell-code", {})
    notebook.command("application:toggle-left-area", {})
    errors = notebook.run_all()
    if errors:
        raise RuntimeError(f"{path.name}: {errors}")
    notebook.settle(0)
    notebook.page.locator(".labkit-explorer").evaluate("one => one.scrollIntoView()")
    notebook.page.screenshot(path=path)
    notebook.close()
    return path


if __name__ == "__main__":
    main()
