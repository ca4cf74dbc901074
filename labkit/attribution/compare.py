"""The same class on the same frames by other methods: library, deeper layers, gradients."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from labkit.attribution.common import share_of
from labkit.attribution.frames import explained_region
from labkit.attribution.gradients import integrated_gradients
from labkit.attribution.layers import JointMaps, joint_layercam, layer_names
from labkit.attribution.library import library_layercam
from labkit.attribution.request import Request, noised_labels, scoring_batch
from labkit.networks import find_stem
from labkit.training.experiment import Experiment

GRADIENT_FRAMES = 8  # frames of the table of integrated gradients


def library_maps(
    experiment: Experiment, index: Sequence[int], *, category: int, request: Request
) -> list[dict[str, np.ndarray]]:
    """The grad-cam library's image and label map (H, W) per frame, first noising; NaN where the
    region is empty.
    """
    maps = []
    for i in index:
        batch = scoring_batch(experiment, experiment.val_split, [i])
        (channel,) = noised_labels(experiment, batch, request, count=1)
        region = explained_region(experiment, batch, channel, category=category, request=request)
        if region.any():
            both = library_layercam(
                experiment.network, batch.images, channel, category=category, region=region
            )
            maps.append({branch: values[0] for branch, values in both.items()})
        else:
            nothing = np.full(tuple(region.shape[1:]), np.nan, dtype=np.float32)
            maps.append({"image": nothing, "label": nothing})
    return maps


def default_layers(experiment: Experiment, names: str = "") -> list[str]:
    """Names of the layers of the joint map: those given, separated by commas, or four from the stem
    to the last decoder piece.
    """
    if names.strip():
        return [name.strip() for name in names.split(",") if name.strip()]
    known = layer_names(experiment.network, with_maps=True)
    encoder = [name for name in known if name.startswith("encoder.")]
    decoder = [name for name in known if name.startswith("decoder.")] or known[-2:-1]
    stem = f"encoder.{find_stem(experiment.network.encoder)[0]}"
    chosen = [stem, encoder[len(encoder) // 2], encoder[-1], *decoder[-1:]]
    return list(dict.fromkeys(chosen))


def joint_maps(
    experiment: Experiment,
    index: Sequence[int],
    *,
    category: int,
    layers: Sequence[str],
    request: Request,
) -> list[JointMaps]:
    """Joint maps at deeper layers under the first noising, and their element-wise maximum; N = 1
    per frame.
    """
    maps = []
    for i in index:
        batch = scoring_batch(experiment, experiment.val_split, [i])
        (channel,) = noised_labels(experiment, batch, request, count=1)
        joint = joint_layercam(
            experiment.network, batch.images, channel, layers=layers, category=category,
            target=batch.label, **request.options(),
        )  # fmt: skip
        layers_cpu, scaled = ({n: one.cpu() for n, one in part.items()} for part in joint[:2])
        maps.append(
            JointMaps(layers_cpu, scaled, joint.strides, *(part.cpu() for part in joint[3:]))
        )
    return maps


def gradient_table(
    experiment: Experiment, index: Sequence[int], *, category: int, request: Request, steps: int
) -> pd.DataFrame:
    """Integrated gradients on frames of the validation split: one row per frame, in the unit of the
    class score.

    Returns:
        Columns frame, image, label, label_share, difference (score of both minus score of nothing),
        error and error_percent (of the difference); NaN where the region is empty.
    """
    rows = []
    for i in index:
        batch = scoring_batch(experiment, experiment.val_split, [i])
        (channel,) = noised_labels(experiment, batch, request, count=1)
        result = integrated_gradients(
            experiment.network, batch.images, channel, category=category, target=batch.label,
            steps=steps, **request.options(),
        )  # fmt: skip
        values = {name: float(getattr(result, name)[0]) for name in ("image", "label")}
        values["label_share"] = 100 * float(share_of(result.label, result.image)[0])
        values |= {name: float(getattr(result, name)[0]) for name in ("difference", "error")}
        rows.append({"frame": experiment.val_split.frame_name(i), **values})
    table = pd.DataFrame(rows)
    return table.assign(error_percent=100 * (table.error / table.difference).abs())
