"""The detail loss of STDC: borders of the label, void and frame left out."""

import torch

from labkit.networks.stdc import detail_loss


def test_a_perfect_detail_map_has_no_loss_and_an_inverse_one_has():
    target = torch.zeros(1, 32, 32, dtype=torch.int64)
    target[:, :, 16:] = 1
    border = torch.zeros(1, 1, 32, 32)
    border[..., 15:17] = 1
    right = detail_loss(200 * border - 100, target, stride=1)
    wrong = detail_loss(100 - 200 * border, target, stride=1)
    assert right < 1e-3 < wrong
    assert torch.equal(right, detail_loss(200 * border - 100, 1 - target, stride=1))


def test_void_and_frame_are_no_border():
    logits = torch.randn(2, 1, 4, 4, requires_grad=True)
    void = torch.full((2, 32, 32), 255)
    loss = detail_loss(logits, void, stride=8)
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().max() == 0
    one_class = torch.zeros(2, 32, 32, dtype=torch.int64)
    assert detail_loss(torch.full((2, 1, 4, 4), -100.0), one_class, stride=8) < 1e-3
