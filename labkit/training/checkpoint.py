"""Checkpoints of a run in training: weights, optimiser, distiller and step in one verified file.

No state of randomness is kept: order, augmentation, noise and dropout are functions of
(seed, step, slot), and the learning rate is a function of the step.
"""

import functools
import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

import labkit
from labkit.errors import CheckpointError
from labkit.records import Run, write_bytes
from labkit.training.progress import report

LAST, PREVIOUS = "last.safetensors", "previous.safetensors"
REFUSED = ".refused"  # added to the name of a file that cannot be used
TRAINING_PACKAGES = ("method", "distillers", "networks", "datasets", "settings", "training")


class TrainedParts(NamedTuple):
    """What one optimiser trains: a network, and a distiller that may have adapters and queues."""

    network: nn.Module
    distiller: nn.Module | None = None

    def parameters(self) -> list[nn.Parameter]:
        """Trainable parameters, in the order the optimiser keeps them."""
        parts = [part for part in self if part is not None]
        return [p for part in parts for p in part.parameters() if p.requires_grad]

    def state(self) -> dict[str, Tensor]:
        """Tensors of all parts, by "network.<name>" and "distiller.<name>"."""
        return {
            f"{name}.{key}": value
            for name, part in self._asdict().items()
            if part is not None
            for key, value in part.state_dict().items()
        }


def save_checkpoint(
    run: Run,
    parts: TrainedParts,
    optimiser: torch.optim.Optimizer,
    *,
    step: int,
    device: torch.device,
) -> None:
    """Write last.safetensors; the file before it stays as previous.safetensors.

    Differs: a file, not a folder, because a rename replaces only a file atomically.

    Raises:
        FileError: it cannot be written; the checkpoints that were there still are.
    """
    tensors = parts.state()
    for index, state in optimiser.state_dict()["state"].items():
        named = {name: value for name, value in state.items() if value is not None}
        tensors |= {f"optimiser.{index}.{name}": torch.as_tensor(named[name]) for name in named}
    copies = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    facts = {
        "run_id": run.run_id,
        "step": str(step),
        "source": source_hash(),
        "torch": torch.__version__,
        "precision": run.settings.precision,
        "device": device.type,
    }
    content = save(copies, facts | {"sha256": _digest(copies, facts)})
    last = run.folder / LAST
    if last.is_file():
        last.replace(run.folder / PREVIOUS)  # a kill here leaves the previous one
    write_bytes(last, content)


def load_checkpoint(
    run: Run, parts: TrainedParts, optimiser: torch.optim.Optimizer, *, device: torch.device
) -> tuple[int, dict[str, str]]:
    """Restore the newest usable checkpoint; one that is refused is named and set aside.

    Returns:
        Its step, 0 where there is none that can be used; and the checkpoint's facts.
    """
    for name in (LAST, PREVIOUS):
        path = run.folder / name
        if not path.is_file():
            continue
        try:
            tensors, facts = _read(path, run)
            step = _restore(path, tensors, facts, parts, optimiser)
        except CheckpointError as error:
            path.replace(path.with_name(name + REFUSED))
            report(f"{error} It is kept as {name + REFUSED}; {_instead(run, name)}.")
            continue
        for fact, now in (("torch", torch.__version__), ("device", device.type)):
            if facts[fact] != now:
                report(
                    f"{path}: written with {fact} {facts[fact]}, going on with {fact} {now}; "
                    "the last digits may differ."
                )
        return step, facts
    return 0, {}


def drop_checkpoints(run: Run) -> None:
    """Remove the checkpoints of a complete run: each is three times the weights' size."""
    for name in (LAST, PREVIOUS):
        (run.folder / name).unlink(missing_ok=True)


@functools.cache
def source_hash() -> str:
    """SHA-256 over the source files that training depends on."""
    package = Path(labkit.__file__).parent
    files = sorted(path for name in TRAINING_PACKAGES for path in (package / name).rglob("*.py"))
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(package).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _read(path: Path, run: Run) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and facts of a file, every byte verified. The format holds no code."""
    try:
        with safe_open(path, "pt", device="cpu") as file:
            facts = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: got no whole checkpoint ({error}); expected a safetensors file."
        ) from error
    claimed = facts.pop("sha256", "")
    if _digest(tensors, facts) != claimed:
        raise CheckpointError(f"{path}: its SHA-256 differs from the recorded one; expected equal.")
    expected = {
        "run_id": run.run_id,
        "precision": run.settings.precision,
        "source": source_hash(),
    }
    for name, value in expected.items():
        if facts.get(name) != value:
            raise CheckpointError(
                f"{path}: got a checkpoint of {name} {facts.get(name, 'unknown')}; "
                f"expected {value}."
            )
    return tensors, facts


def _restore(
    path: Path,
    tensors: dict[str, Tensor],
    facts: dict[str, str],
    parts: TrainedParts,
    optimiser: torch.optim.Optimizer,
) -> int:
    """Load parts and optimiser. The optimiser's state takes the memory format of its parameter."""
    wanted = {name: value.shape for name, value in parts.state().items()}
    got = {n: v.shape for n, v in tensors.items() if not n.startswith("optimiser.")}
    if got != wanted:
        raise CheckpointError(f"{path}: its tensors are not this network's; expected the same.")
    for name, part in parts._asdict().items():
        if part is not None:
            prefix = f"{name}."
            own = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
            part.load_state_dict(own)
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith("optimiser."):
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = _like(parameters[int(index)], value)
    optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
    return int(facts["step"])


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A state tensor in its parameter's memory format: fused optimisers read storage order."""
    if value.shape != parameter.shape or value.ndim == 0:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)


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
