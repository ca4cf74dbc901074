"""Checkpoints of a run in training: weights, optimiser state and step in one file that is whole, this run's own, or refused.

There is no state of randomness to keep: order, augmentation, noise and dropout are functions of (seed, step, index), and the
learning rate is a function of the step.
"""

import hashlib
import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import labkit
from labkit.files import write_bytes
from labkit.records import Run

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
REFUSED = ".refused"  # added to the name of a file that could not be used


class CheckpointError(ValueError):
    """A checkpoint that cannot be used. The message names the file, what was found and what was expected."""


def save_checkpoint(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer, *, step: int) -> None:
    """Write last.safetensors; the one before it stays as previous.safetensors.

    Differs: a file instead of a folder, because a rename replaces a file atomically and a folder not.

    Raises:
        FileError: it cannot be written; the checkpoints that were there still are.
    """
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(value) for name, value in state.items() if value is not None}
    kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    facts = {"run_id": run.run_id, "step": str(step), "labkit": labkit.__version__, "torch": torch.__version__}
    content = save(kept, facts | {"sha256": _digest(kept, facts)})
    last = run.folder / LAST
    if last.is_file():
        last.replace(run.folder / PREVIOUS)  # a kill right here leaves the previous one, which is used
    write_bytes(last, content)


def load_checkpoint(run: Run, network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    """Put the newest usable checkpoint's state back. One that is refused is named, and the one before it used.

    Returns:
        Its step; 0 where there is none that can be used.
    """
    for name in (LAST, PREVIOUS):
        path = run.folder / name
        if not path.is_file():
            continue
        try:
            tensors, facts = _read(path, run)
            return _restore(tensors, facts, network, optimiser)
        except CheckpointError as error:
            path.replace(path.with_name(name + REFUSED))  # out of the way of the next one, and not lost
            print(f"{error} It is kept as {name + REFUSED}; {_instead(run, name)}.")
    return 0


def drop_checkpoints(run: Run) -> None:
    """Remove the checkpoints of a complete run: each is three times the weights' size, and nothing is left to resume."""
    for name in (LAST, PREVIOUS):
        (run.folder / name).unlink(missing_ok=True)


def _read(path: Path, run: Run) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and facts of a file, every byte accounted for. Nothing in the file is executed: the format holds no code."""
    try:
        with safe_open(path, "pt", device="cpu") as file:  # the optimiser moves what belongs on the device
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no dict)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: found no whole checkpoint ({error}); expected a safetensors file.") from error
    claimed = facts.pop("sha256", "")
    if _digest(tensors, facts) != claimed:
        raise CheckpointError(f"{path}: found contents that are not those it was written with; expected its own SHA-256 to agree.")
    if facts.get("run_id") != run.run_id:
        raise CheckpointError(f"{path}: found a checkpoint of {facts.get('run_id')}; expected one of {run.run_id}.")
    if facts["labkit"] != labkit.__version__:
        raise CheckpointError(f"{path}: found a checkpoint of labkit {facts['labkit']}; expected {labkit.__version__}.")
    if facts["torch"] != torch.__version__:
        print(f"{path}: written under torch {facts['torch']}, going on under {torch.__version__}; the last digits may differ.")
    return tensors, facts


def _restore(tensors: dict[str, Tensor], facts: dict[str, str], network: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    network.load_state_dict({name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")})
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    return int(facts["step"])


def _digest(tensors: dict[str, Tensor], facts: dict[str, str]) -> str:
    """SHA-256 over facts, and every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _instead(run: Run, name: str) -> str:
    left = name == LAST and (run.folder / PREVIOUS).is_file()
    return "the one before it is tried" if left else "training starts from step 0"
