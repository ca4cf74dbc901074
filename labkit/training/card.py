"""The model card of an exported run, as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from labkit.networks.smp import smp_call
from labkit.networks.table import multiply_adds
from labkit.records import markdown_text
from labkit.training.experiment import Experiment

WEIGHTS, ONNX, CARD = "model.safetensors", "model.onnx", "README.md"
KINDS = {
    "plain": "teacher that reads the image alone",
    "alone": "student trained on the labels alone",
    "of-plain": "student of a plain teacher",
    "of-assisted": "student of an assisted teacher",
}


@dataclass(frozen=True)
class Measured:
    """What was measured on this machine.

    Attributes:
        size: height and width of the image, pixels.
        torch_ms, onnx_ms: median time for one image, milliseconds.
        threads: of the CPU.
        cpu: the processor's name.
        onnx_difference: largest difference of ONNX from PyTorch, relative to the largest logit.
    """

    size: tuple[int, int]
    torch_ms: float
    onnx_ms: float
    threads: int
    cpu: str
    onnx_difference: float


def model_card(experiment: Experiment, measured: Measured) -> str:
    """What the network is, how to load it, what it was trained on, how it scores, what it costs."""
    run, settings, info = experiment.run, experiment.settings, experiment.info
    title = (
        f"{settings.architecture} with {settings.encoder}, {KINDS[run.kind]}, for the "
        f"{info.num_classes} classes of {info.name}."
    )
    parts = [
        "<!-- Written by labkit export. -->",
        f"# {markdown_text(run.run_id)}",
        markdown_text(title),
        _use(experiment),
        _training(experiment),
        _data(experiment),
        _scores(experiment),
        _cost(experiment, measured),
    ]
    return "\n\n".join(parts) + "\n"


def loading_example(architecture: str, encoder: str, num_classes: int) -> str:
    """Three lines of Python that build the network and fill it from model.safetensors."""
    built = smp_call(architecture, encoder, num_classes)
    imported = "import safetensors.torch, segmentation_models_pytorch as smp"
    if not built:
        imported = "import safetensors.torch, labkit.networks"
        built = (
            f"labkit.networks.build_network({architecture!r}, {encoder!r}, "
            f"num_classes={num_classes})"
        )
    load = f"model.load_state_dict(safetensors.torch.load_file({WEIGHTS!r}))"
    return f"{imported}\nmodel = {built}.eval()\n{load}\n"


def _use(experiment: Experiment) -> str:
    info, stride, settings = experiment.info, experiment.network.stride, experiment.settings
    example = loading_example(settings.architecture, settings.encoder, info.num_classes)
    if smp_call(settings.architecture, settings.encoder, info.num_classes):
        answer = (
            f"`model(images)` gives logits (N, K, H / {stride}, W / {stride}) for sides that are "
            "multiples of 32; labkit is not needed."
        )
    else:
        answer = (
            f"`model(images).logits` has shape (N, K, H / {stride}, W / {stride}). "
            "smp has no such network, so this needs labkit; the ONNX file does not."
        )
    resize = (
        f' `torch.nn.functional.interpolate(logits, scale_factor={stride}, mode="bilinear")` '
        "brings them to the image's size."
    )
    numbers = [", ".join(f"{value:g}" for value in values) for values in (info.mean, info.std)]
    resizing = _scored_size(settings.score_size)
    return f"""## Use

Images are RGB, (value / 255 - mean) / std with mean {numbers[0]} and std {numbers[1]}.{resizing}

```python
{example}```

{answer}{resize if stride > 1 else ""}

```python
import onnxruntime
session = onnxruntime.InferenceSession({ONNX!r})
(logits,) = session.run(["logits"], {{"image": images}})  # float32, (N, K, H, W), any size from 33
```

Classes by id: {markdown_text(", ".join(info.class_names))}."""


def _scored_size(score_size: str) -> str:
    """How to resize images as they were scored, a line of its own; "" for native size."""
    if score_size == "native":
        return ""
    short = score_size.removeprefix("short:")
    size = f"{score_size} pixels (height x width)"
    size = f"a short side of {short} pixels" if short != score_size else size
    return (
        f"\nAs for the scores below, resize images to {size} first (bilinear, antialiased), then "
        "bring the logits back to the image's own size."
    )


def _training(experiment: Experiment) -> str:
    run = experiment.run
    manifest, facts = run.manifest(), run.facts()
    made = manifest["provenance"]
    changed = " with changed files" if made.get("dirty") else ""
    rows = [(name, _text(value)) for name, value in run.config["settings"].items()]
    teacher = run.identity["teacher"]
    if teacher:
        rows.append(("teacher", f"{teacher['run_id']}, weights {teacher['checkpoint'][:16]}"))
    minutes = facts.get("seconds", 0) / 60
    device = made.get("device_name") or made.get("device", "")
    where = f"PyTorch {made['torch']}, {device}, {minutes:.1f} minutes"
    return f"""## Training

Revision {made["revision"]}{changed}; {markdown_text(where)}.

{_table(("setting", "value"), rows)}"""


def _data(experiment: Experiment) -> str:
    info, split = experiment.info, experiment.open_split("train", experiment.settings.train_size)
    return f"""## Data

{markdown_text(info.name)}: {len(split)} training frames.
Source: {markdown_text(info.source or "not stated")}.
Terms of the data, which may also bind what is trained on them:
{markdown_text(info.terms or "not stated")}."""


def _scores(experiment: Experiment) -> str:
    metrics = experiment.run.metrics()
    (score,) = metrics["readings"].values()
    rows = [("mIoU", f"{score['miou']:.2f}"), ("pixel accuracy", f"{score['pixel_accuracy']:.2f}")]
    rows += [
        (f"IoU of {name}", "absent" if value is None else f"{value:.2f}")
        for name, value in score["iou"].items()
    ]
    return f"""## Scores

In percent; {markdown_text(metrics["protocol"])}; one run, seed {experiment.run.seed}.

{_table(("score", "value"), rows)}"""


def _cost(experiment: Experiment, measured: Measured) -> str:
    height, width = measured.size
    operations = multiply_adds(experiment.network, measured.size)
    parameters = sum(value.numel() for value in experiment.network.parameters())
    image = f"for one image of {height} x {width}"
    rows = [
        ("parameters", f"{parameters:,}"),
        (f"GFLOPs {image}", f"{2 * operations / 1e9:.3f}"),
        (f"PyTorch {image}", f"{measured.torch_ms:.1f} ms"),
        (f"onnxruntime {image}", f"{measured.onnx_ms:.1f} ms"),
        ("largest difference of ONNX from PyTorch", f"{measured.onnx_difference:.0e}"),
    ]
    return f"""## Size and speed

FLOPs are two per multiply-add of the convolutions; times are medians in float32 on the CPU
({markdown_text(measured.cpu)}, threads: {measured.threads}).

{_table(("quantity", "value"), rows)}"""


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(markdown_text(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}={_text(one)}" for name, one in value.items())
    return str(value)
