"""A real JupyterLab and a real browser, for tests; both end in every case."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest

from labkit.settings.paths import project_root

pytest.importorskip("playwright", reason="playwright is not installed; it is in the dev extra")
from playwright.sync_api import Browser, Locator, Page, sync_playwright

TOKEN = "a-token-for-one-test"
START_SECONDS = 90
POLL = 100  # milliseconds; by animation frames, a page that is not in front would wait for ever
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
KERNEL = "window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel"
FLAGS = (
    "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def chromium() -> str | None:
    """The browser named by LABKIT_CHROMIUM, or one on the PATH; None where there is none."""
    named = os.environ.get("LABKIT_CHROMIUM", "")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(chromium() is None, reason="no Chromium on the PATH"),
    pytest.mark.filterwarnings("ignore:.*:DeprecationWarning"),
]


@contextlib.contextmanager
def browser_open() -> Iterator[Browser]:
    """A headless Chromium. As root it runs without its sandbox, or not at all."""
    sandbox = () if os.geteuid() else ("--no-sandbox",)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=[*FLAGS, *sandbox])
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def jupyter_lab(folder: Path, private: Path) -> Iterator[str]:
    """JupyterLab on a free port of this machine, serving a folder; yields its address.

    Args:
        private: for its settings, kernels' sockets and log; the user's own are not touched.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {
        f"JUPYTER_{name}_DIR": str(private / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")
    }
    environment |= {
        "IPYTHONDIR": str(private / "ipython"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(project_root()),
    }
    settings = private / "settings"
    _write_settings(settings)
    environment["JUPYTERLAB_SETTINGS_DIR"] = str(settings)
    options = {
        "ServerApp.port": port, "ServerApp.port_retries": 0, "ServerApp.ip": "127.0.0.1",
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": folder, "IdentityProvider.token": TOKEN,
        "LabApp.expose_app_in_browser": True,
    }  # fmt: skip
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--allow-root",
        *(f"--{name}={value}" for name, value in options.items()),
    ]
    log = private / "jupyterlab.log"
    with log.open("w", encoding="utf-8") as file:
        server = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _wait_for(address, server, log)
            yield address
        finally:
            server.terminate()  # its kernels end with it
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _write_settings(folder: Path) -> None:
    """No news, and every cell in the page: by default those out of view are not."""
    settings = {
        "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
        "notebook-extension/tracker": {"windowingMode": "none"},
    }
    for name, values in settings.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values), encoding="utf-8")


def _wait_for(address: str, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and server.poll() is None:
        with contextlib.suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{address}/api?token={TOKEN}", timeout=5).close()
            return
        time.sleep(0.3)
    raise RuntimeError(f"JupyterLab did not start: {log.read_text()[-2000:]}")


def write_cell(code: str, path: Path) -> None:
    """A notebook of one cell."""
    kernel = {
        "kernelspec": {
            "name": "python3",
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
        }
    }
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(code, id="only")], metadata=kernel
        ),
        path,
    )


def write_notebook(stem: str, folder: Path, parameters: dict[str, Any]) -> None:
    """A notebook of the project with other values in its parameters cell."""
    notebook = nbformat.read(project_root() / "notebooks" / f"{stem}.ipynb", as_version=4)
    (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    lines = [line for line in cell.source.splitlines() if line.split(":")[0] not in parameters]
    cell.source = "\n".join(
        [*lines, *(f"{name} = {value!r}" for name, value in parameters.items())]
    )
    nbformat.write(notebook, folder / f"{stem}.ipynb")


class Notebook:
    """One notebook in one tab. `errors` are the console's."""

    def __init__(
        self, browser: Browser, address: str, name: str, *, width: int = 1280, height: int = 1000
    ) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": height})
        self.page.set_default_timeout(240_000)  # a notebook with all its figures, on a busy machine
        self.errors: list[str] = []
        self.page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(f"{address}/lab/tree/{name}.ipynb?token={TOKEN}&reset")
        self.page.wait_for_selector(".jp-Notebook .jp-Cell")
        self.page.wait_for_function(
            f"{KERNEL}?.connectionStatus == 'connected' && {KERNEL}.status == 'idle'", polling=POLL
        )
        self.view = self.page.locator(".labkit-canvas .labkit-view")

    def run_all(self) -> list[str]:
        """Run every cell; names and values of the errors in its outputs."""
        self.command("notebook:run-all-cells")
        return self.page.evaluate(
            "jupyterapp.shell.currentWidget.content.widgets"
            ".flatMap(cell => cell.model.outputs?.toJSON() ?? [])"
            ".filter(output => output.output_type == 'error')"
            ".map(output => `${output.ename}: ${output.evalue}`)"
        )

    def run_cell(self, holding: str) -> None:
        """Run the first cell whose source holds a text."""
        self.page.evaluate(
            "text => { const notebook = jupyterapp.shell.currentWidget.content;"
            " notebook.activeCellIndex = notebook.widgets.findIndex("
            "cell => cell.model.sharedModel.getSource().includes(text)) }",
            holding,
        )
        self.command("notebook:run-cell")

    def close(self) -> None:
        """End the kernel, then the tab."""
        self.page.evaluate("void jupyterapp.shell.currentWidget.sessionContext.shutdown()")
        self.page.close()

    def command(self, name: str, arguments: dict[str, Any] | None = None) -> None:
        """Run a command of JupyterLab and wait in the page for its end, with a limit."""
        self.page.evaluate(
            "([name, given]) => { window.done = false;"
            " jupyterapp.commands.execute(name, given).finally(() => window.done = true) }",
            [name, arguments or {}],
        )
        self.page.wait_for_function("window.done", polling=POLL)

    def slider(self, label: str) -> Locator:
        return self.page.locator(
            f'.labkit-explorer .widget-slider:has(> label:text-is("{label}")) [role=slider]'
        )

    def entry(self, label: str) -> Locator:
        return self.page.locator(
            f'.labkit-explorer .labkit-entry:has(> label:text-is("{label}, number")) input'
        )

    def renders(self) -> int:
        return int(self.view.get_attribute("data-renders"))

    def readout(self) -> list[str]:
        return self.page.locator(
            ".labkit-canvas .labkit-verdict, .labkit-canvas .labkit-readout li"
        ).all_inner_texts()

    def pictures(self) -> list[str]:
        return self.page.locator(".labkit-canvas img").evaluate_all(
            "all => all.map(one => one.src)"
        )

    def settle(self, after: int) -> int:
        """Wait for more than `after` renders and a second without another; their number."""
        self.page.wait_for_function(
            "n => n < Number("
            "document.querySelector('.labkit-canvas .labkit-view')?.dataset.renders)",
            arg=after,
            polling=POLL,
        )
        renders = -1
        while (
            renders != (renders := self.renders())
            or self.page.locator('.labkit-status[aria-busy="true"]').count()
        ):
            self.page.wait_for_timeout(1000)
        return renders
