"""Calibrated weights give every distiller the same gradient norm at the last encoder stage."""

import pytest
import torch

from labkit.distillers import available, build_distiller
from labkit.distillers.calibrate import calibrate, calibrated_weights, gradient_norms
from labkit.method import LabelNoising, cross_entropy
from tests.tiny import TinyNetwork, block_target, frozen, random_images, seeded

NOISING = LabelNoising(num_classes=4)
BATCHES = [(random_images(seed=seed), block_target(seed=seed)) for seed in range(2)]


def run(distillation, batches=BATCHES, *, options=None, **settings):
    student, teacher = TinyNetwork(), frozen(TinyNetwork(1, width=7, seed=1))
    return calibrate(
        student,
        teacher,
        batches,
        NOISING,
        distillation,
        options or {},
        generator=seeded(),
        **settings,
    )


def test_norms_are_those_of_the_gradient():
    shared = torch.tensor([3.0, 4.0], requires_grad=True)
    terms = {
        "half": shared.square().sum() / 2,
        "twice": 2 * shared.sum(),
        "elsewhere": torch.ones(1, requires_grad=True).sum(),
        "constant": torch.tensor(1.0),
    }
    expected = {"half": 5.0, "twice": 8**0.5, "elsewhere": 0.0, "constant": 0.0}
    assert gradient_norms(terms, shared) == pytest.approx(expected)


def test_weights_are_ratios_of_mean_norms():
    norms = [{"ce": 1.0, "kd": 4.0, "at": 0.5}, {"ce": 3.0, "kd": 4.0, "at": 0.5}]
    assert calibrated_weights(norms) == {"kd": 0.5, "at": 4.0}
    assert calibrated_weights(norms, share=0.5) == {"kd": 0.25, "at": 2.0}


@pytest.mark.parametrize("norms", [[], [{"ce": 0.0, "kd": 1.0}], [{"kd": 1.0}]])
def test_weights_need_a_cross_entropy(norms):
    with pytest.raises(ValueError, match="expected at least one batch"):
        calibrated_weights(norms)


def test_a_term_without_a_gradient_is_refused_by_name():
    with pytest.raises(ValueError, match="at has gradient norm 0"):
        calibrated_weights([{"ce": 1.0, "at": 0.0}])


def test_every_distiller_reaches_the_share_asked_for():
    share, names = 0.3, available()
    calibration = run("+".join(names), BATCHES[:1], share=share)
    assert sorted(calibration.weights) == names
    images, target = BATCHES[0]
    student, teacher = TinyNetwork().train(), frozen(TinyNetwork(1, width=7, seed=1))
    outputs = student(images)
    channel = NOISING(target, generator=seeded())
    taught = teacher(torch.cat([images, channel], 1))
    text = "+".join(f"{name}:{weight}" for name, weight in calibration.weights.items())
    distiller = build_distiller(text, {}, student=outputs, teacher=taught, seed=0)
    terms = distiller(outputs, taught, target)
    terms["ce"] = cross_entropy(outputs.logits, target, stride=2)
    norms = gradient_norms(terms, outputs.features[-1])
    for name in names:
        assert norms[name] == pytest.approx(share * norms["ce"], rel=0.01)


def test_weights_and_defaults_of_the_text_do_not_matter_but_options_do():
    plain = run("cwd").weights
    assert run("cwd:7").weights == run("cwd", options={"cwd.weight": 7}).weights == plain
    assert run("cwd", options={"cwd.temperature": 1.0}).weights != plain


def test_the_student_is_left_as_it_was():
    student, teacher = TinyNetwork().eval(), frozen(TinyNetwork(1, seed=1))
    before = {name: value.clone() for name, value in student.state_dict().items()}
    calibrate(student, teacher, BATCHES, NOISING, "kd+at", {}, generator=seeded())
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())
    assert not student.training


def test_weights_are_measured_against_the_loss_of_the_training():
    def twice(logits, target, *, stride):
        return 2 * cross_entropy(logits, target, stride=stride)

    plain, doubled = run("at"), run("at", segmentation_loss=twice)
    assert doubled.norms["ce"] == pytest.approx(2 * plain.norms["ce"])
    assert doubled.weights["at"] == pytest.approx(2 * plain.weights["at"], rel=0.01)
