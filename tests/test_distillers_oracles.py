"""Distillers against independent implementations: torchdistill, SciPy, torch."""

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import pearsonr
from torchdistill.losses import mid_level

from labkit.distillers import build_distiller
from labkit.method import Outputs
from tests.distiller_cases import case, value_of

PAIR = {"pair": {side: {"io": "output", "path": "x"} for side in ("student", "teacher")}}
LOGITS = {
    f"{side}_module_{key}": text
    for side in ("student", "teacher")
    for key, text in (("path", "x"), ("io", "output"))
}


def torchdistill(loss, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    return loss({"x": {"output": student}}, {"x": {"output": teacher}})


def pixels(logits: torch.Tensor) -> torch.Tensor:
    """(N, K, h, w) -> (N*h*w, K)."""
    return logits.detach().movedim(1, -1).flatten(0, 2)


def ours(name, **settings):
    distiller, student, teacher, target = case(name, weight=1.0, **settings)
    return value_of(distiller, student, teacher, target).detach(), student, teacher


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_kd_is_torchdistill_s_times_temperature_squared(temperature):
    value, student, teacher = ours("kd", temperature=temperature)
    loss = mid_level.KDLoss(**LOGITS, temperature=temperature, alpha=0.0)
    expected = temperature**2 * torchdistill(loss, pixels(student.logits), pixels(teacher.logits))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_standardised_kd_is_torchdistill_s_times_temperature_squared(temperature):
    value, student, teacher = ours("standardised_kd", temperature=temperature)
    loss = mid_level.LogitStdKDLoss(**LOGITS, temperature=temperature, alpha=0.0)
    expected = temperature**2 * torchdistill(loss, pixels(student.logits), pixels(teacher.logits))
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_dist_is_torchdistill_s_on_flat_pixels(temperature):
    value, student, teacher = ours("dist", temperature=temperature, inter=2.0, intra=0.5)
    loss = mid_level.DISTLoss(**LOGITS, beta=2.0, gamma=0.5, tau=temperature)
    expected = torchdistill(loss, pixels(student.logits), pixels(teacher.logits))
    torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-6)


def test_at_is_torchdistill_s_summed_over_positions():
    value, student, teacher = ours("at", stage=0)
    expected = 24 * torchdistill(mid_level.ATLoss(PAIR), student.features[0], teacher.features[0])
    torch.testing.assert_close(value, expected.detach())


def test_ickd_is_torchdistill_s_which_divides_by_the_batch_once_more():
    value, student, teacher = ours("ickd", stage=0)
    loss = mid_level.ChSimLoss(PAIR)
    expected = 2 * torchdistill(loss, student.features[0], teacher.features[0])
    torch.testing.assert_close(value, expected.detach())


def test_cwd_is_torch_s_divergence_of_positions():
    value, student, teacher = ours("cwd", temperature=2.0)
    s, t = ((x.logits.detach() / 2).flatten(2).flatten(0, 1) for x in (student, teacher))
    expected = 4 * F.kl_div(s.log_softmax(1), t.softmax(1), reduction="batchmean")
    torch.testing.assert_close(value, expected)


def test_dkd_without_beta_and_alpha_parts_adds_up_to_kd():
    """Per pixel KD = (true against rest) + (1 - p_t,y) (rest): at p_t,y equal everywhere."""
    student_logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    teacher_logits = torch.zeros(3, 5)
    pair = [
        Outputs(logits.T.reshape(1, 5, 1, 3), 1, {}, ())
        for logits in (student_logits, teacher_logits)
    ]
    target = torch.tensor([[[0, 3, 4]]])
    build = {"student": pair[0], "teacher": pair[1], "seed": 0}
    kd = build_distiller("kd", {}, **build)(*pair, target)["kd"]
    dkd = build_distiller("dkd", {"dkd.alpha": 1.0, "dkd.beta": 4 / 5}, **build)
    torch.testing.assert_close(dkd(*pair, target)["dkd"], kd)


def test_pkd_is_scipy_s_correlation_of_channels():
    value, student, teacher = ours("pkd")
    f, g = (x.features[-1].detach().transpose(0, 1).flatten(1).numpy() for x in (student, teacher))
    m = f.shape[1]
    expected = sum((1 - pearsonr(a, b).statistic) for a, b in zip(f, g, strict=True)) / len(f)
    assert value.item() == pytest.approx(expected * (m - 1) / m, rel=1e-4)


def test_dist_over_pixels_is_scipy_s_correlation_of_classes():
    value, student, teacher = ours("dist", inter=0.0)
    s, t = (pixels(x.logits).softmax(1).T.numpy() for x in (student, teacher))
    expected = sum(1 - pearsonr(a, b).statistic for a, b in zip(s, t, strict=True)) / len(s)
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_uniform_teacher_gives_dist_2_and_one_equal_frame_0():
    distiller, student, teacher, target = case("dist", n=1, weight=1.0)
    uniform = teacher._replace(logits=torch.zeros_like(teacher.logits))
    assert value_of(distiller, student, uniform, target).item() == pytest.approx(2)
    assert value_of(distiller, student, student, target).item() == pytest.approx(0, abs=1e-5)


def test_fitnet_is_torch_s_mean_squared_error():
    value, student, teacher = ours("fitnet")
    torch.testing.assert_close(
        value, F.mse_loss(student.features[-1], teacher.features[-1]).detach()
    )


def test_skd_is_torch_s_cosine_similarity_of_every_pair_of_positions():
    value, student, teacher = ours("skd", pool=1)
    pairs = (x.features[-1].detach().flatten(2) for x in (student, teacher))
    s, t = (F.cosine_similarity(x[..., None], x[..., None, :], dim=1) for x in pairs)
    torch.testing.assert_close(value, F.mse_loss(s, t), rtol=1e-4, atol=1e-6)


def test_ifvd_is_a_loop_over_images_and_classes():
    distiller, student, teacher, target = case("ifvd", weight=1.0, stage=0)
    value = value_of(distiller, student, teacher, target).detach()
    squares = []
    for n, ids in enumerate(target[:, ::4, ::4]):  # one label per position
        for k in range(4):
            f, g = (x.features[0].detach()[n][:, ids == k] for x in (student, teacher))
            f, g = (F.cosine_similarity(x, x.mean(1, keepdim=True), dim=0) for x in (f, g))
            squares.append((f - g).square())
    torch.testing.assert_close(value, torch.cat(squares).mean(), rtol=1e-4, atol=1e-6)


def test_cirkd_s_first_part_is_torch_s_divergence_of_each_pair_of_images():
    value, student, teacher = ours("cirkd", memory_weight=0.0, temperature=0.5)
    f, g = (x.features[-1].detach().flatten(2).mT for x in (student, teacher))  # (N, m, C)
    divergences = []
    for i, j in ((i, j) for i in range(len(f)) for j in range(len(f))):
        s, t = (F.cosine_similarity(x[i][:, None], x[j][None], dim=2) / 0.5 for x in (f, g))
        divergences.append(F.kl_div(s.log_softmax(1), t.softmax(1), reduction="batchmean"))
    torch.testing.assert_close(value, sum(divergences) / len(divergences), rtol=1e-4, atol=1e-6)


def test_mgd_without_a_mask_and_with_an_identity_network_is_the_error_of_positive_features():
    distiller, student, teacher, target = case("mgd", weight=1.0, drop=0.0)
    with torch.no_grad():
        for layer in distiller.parts["mgd"].generation[::2]:
            torch.nn.init.dirac_(layer.weight)
            layer.bias.zero_()
    value = value_of(distiller, student, teacher, target)
    torch.testing.assert_close(value, F.mse_loss(student.features[-1].relu(), teacher.features[-1]))
