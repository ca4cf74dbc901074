"""A complete run as a folder for use without labkit: weights, ONNX and a model card."""

import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from labkit.datasets.batches import scoring_size
from labkit.errors import SettingsError, TrainingError
from labkit.networks.export import (
    TOLERANCE,
    FullSizeLogits,
    check_packages,
    onnx_difference,
    onnx_session,
    write_onnx,
)
from labkit.records import cannot_write, find_run, provenance, write_bytes, write_text
from labkit.settings import EvaluateSettings
from labkit.training.card import CARD, ONNX, WEIGHTS, Measured, model_card
from labkit.training.experiment import Experiment, load_experiment

FILES = (WEIGHTS, ONNX, CARD)
REPEATS = 10  # timed forward passes, after two that are not timed
CHECKED_SIZES = ((1, 64, 96), (2, 45, 70), (1, 131, 97))  # images, height, width; ONNX is compared


def export_run(name: str, *, output: Path | None = None, values: Mapping[str, Any]) -> list[str]:
    """Write model.safetensors, model.onnx and README.md (the model card) of a complete run.

    The weights are those of the run; the ONNX file gives logits at the image's size for any batch
    and any image from 33 x 33 pixels, and is compared with PyTorch before anything is reported.

    Args:
        name: run id, the beginning of one, or a run folder.
        output: a folder that is new, empty or of an earlier export; default: export in the run's.
        values: settings that say where things are: runs, data_root, threads.

    Returns:
        Lines to print: the files, and the largest difference of ONNX from PyTorch.

    Raises:
        SettingsError: the run reads a label, which nobody has where a network is used; the folder
            holds other files; or a package of the extra "export" is missing.
        RecordError: no such complete run.
        TrainingError: ONNX and PyTorch differ.
    """
    settings = EvaluateSettings(**values)
    check_packages()
    run = find_run(name, settings.runs)
    if (run.role, run.kind) == ("teacher", "assisted"):
        raise SettingsError(
            f"export: {run.run_id} is an assisted teacher, which reads the noised label of an "
            "image beside the image, and there is no label where a network is used. "
            "Export a student or a plain teacher."
        )
    changes = settings.model_dump(include={"data_root", "threads"})
    experiment = load_experiment(run, device="cpu", **changes)
    folder = _empty_folder(output or run.folder / "export")
    write_onnx(experiment.network, folder / ONNX)
    difference = onnx_difference(experiment.network, folder / ONNX, sizes=CHECKED_SIZES)
    if not difference <= TOLERANCE:
        (folder / ONNX).unlink()
        raise TrainingError(
            f"export: logits of {ONNX} differ from PyTorch's by {difference:.1e}; expected at most "
            f"{TOLERANCE:.0e} of the largest logit. The file is removed."
        )
    write_bytes(folder / WEIGHTS, (run.folder / "model.safetensors").read_bytes())
    write_text(
        folder / CARD, model_card(experiment, measure(experiment, folder / ONNX, difference))
    )
    files = [str(folder / file) for file in FILES]
    return [*files, f"largest difference of ONNX from PyTorch: {difference:.1e}"]


def measure(experiment: Experiment, onnx: Path, difference: float) -> Measured:
    """Latency of PyTorch and of onnxruntime for one validation frame on this machine's CPU."""
    native = experiment.val_split.size(0)
    height, width = scoring_size(experiment.settings.score_size, native)
    image = torch.zeros(1, 3, height, width)
    network, session = FullSizeLogits(experiment.network), onnx_session(onnx)
    with torch.no_grad():
        torch_ms = milliseconds(lambda: network(image))
    onnx_ms = milliseconds(lambda: session.run(["logits"], {"image": image.numpy()}))
    machine = provenance("cpu")
    return Measured(
        size=(height, width),
        torch_ms=torch_ms,
        onnx_ms=onnx_ms,
        threads=torch.get_num_threads(),
        cpu=machine["cpu"],
        onnx_difference=difference,
    )


def milliseconds(compute: Callable[[], Any], *, repeats: int = REPEATS) -> float:
    """Median time of a call in milliseconds, after two calls that are not timed."""
    times = []
    for number in range(repeats + 2):
        began = time.perf_counter()
        compute()
        if number >= 2:
            times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def _empty_folder(folder: Path) -> Path:
    """The folder, made where it is not there.

    Raises:
        SettingsError: it holds files that no export wrote, or is no folder.
        FileError: it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise SettingsError(f"--output {folder}: is a file; expected a folder.")
    try:
        others = [path.name for path in folder.iterdir()] if folder.exists() else []
        ours = CARD not in others or "labkit export" in _beginning(folder / CARD)
        if not (set(others) <= set(FILES) and ours):
            raise SettingsError(
                f"--output {folder}: holds other files ({', '.join(sorted(others)[:3])}); expected "
                "a new or empty folder, or one of an earlier export."
            )
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    return folder


def _beginning(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.read(200)
