"""A network that was trained to use its label gets a high label share from every method."""

import json

import torch
import torch.nn.functional as F

from labkit.attribution import branch_layercam, branch_means, branch_shapley, label_share, share_of
from labkit.method import LabelNoising
from tests.small_networks import TinyAssisted, logits_of, make_target

CODES = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])  # colours of the classes


def shuffled_batch(noising, generator, *, seed):
    """Images of another frame, so that only the label (with fixed codes) shows the class."""
    target = make_target(8, seed=seed, void=False)
    images = CODES[target].movedim(-1, 1) + 0.1 * torch.randn(8, 3, 32, 32, generator=generator)
    return images.roll(1, 0), noising(target, generator=generator), target


def trained_on_shuffled_images():
    torch.manual_seed(0)
    network = TinyAssisted().train()
    noising = LabelNoising(num_classes=4, class_codes="fixed", label_scale=3)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(1)
    for step in range(400):
        images, label, target = shuffled_batch(noising, generator, seed=step)
        loss = F.cross_entropy(logits_of(network, images, label), target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval(), shuffled_batch(noising, generator, seed=9999)


def test_a_network_trained_with_shuffled_images_uses_its_label(record_property):
    with torch.random.fork_rng():
        network, (images, label, target) = trained_on_shuffled_images()
    with torch.no_grad():
        right = (logits_of(network, images, label).argmax(1) == target).float().mean()
    assert right > 0.8
    options = {"category": range(4), "region": "true", "target": target}
    shapley = branch_shapley(network, images, label, **options)
    by_shapley = share_of(shapley.label.abs().nansum(), shapley.image.abs().nansum()).item()
    means = branch_means(network, [(images, label)])
    maps = branch_layercam(network, images, label, means=means, **options)
    summed = (part.nan_to_num().sum((0, 1))[None] for part in maps[:5])
    by_layercam = label_share(type(maps)(*summed, maps.score, maps.present)).item()
    record_property("shares", json.dumps({"shapley": by_shapley, "layercam": by_layercam}))
    assert by_shapley > 0.9
