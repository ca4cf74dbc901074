"""The two steps: terms, gradients, noise, and networks of different strides."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from labkit.method import (
    DISTANCES,
    LabelNoising,
    common_grid,
    cross_entropy,
    full_size,
    hard_pixel_cross_entropy,
    labelled_positions,
    student_step,
    teacher_step,
)
from tests.tiny import (
    TinyNetwork,
    block_target,
    frozen,
    no_host_reads,
    random_images,
    rng_untouched,
    seeded,
)

NOISING = LabelNoising(num_classes=4, label_scale=3.0)
TEACH = {"consistency_weight": 0.5, "distance": DISTANCES["cwd"], "temperature": 4.0}
IMAGES, TARGET = random_images(), block_target()
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES.keys())


class KD(nn.Module):
    """The least distiller."""

    def __init__(self, *, stride: int = 1, void: bool = True) -> None:
        super().__init__()
        self.stride, self.void = stride, void

    def forward(self, student, teacher, target):
        a, b, stride = common_grid(student, teacher, stride=self.stride)
        keep = None if self.void else labelled_positions(target, stride, a.shape[2:])
        return {"kd": 0.25 * DISTANCES["kd"](a, b, temperature=2.0, keep=keep)}


def teach(teacher, target=TARGET, *, seed=5, **options):
    return teacher_step(teacher, IMAGES, target, NOISING, generator=seeded(seed), **TEACH | options)


def distil(student, teacher, target=TARGET, *, noising=NOISING, distiller=None, **options):
    return student_step(
        student, teacher, IMAGES, target, noising, distiller or KD(), generator=seeded(5), **options
    )


# a batch of teacher training


@every_distance
@pytest.mark.parametrize("void", [True, False])
@pytest.mark.parametrize("separate", [True, False])
def test_teacher_terms_sum_to_the_loss(distance, void, separate):
    options = {"distance": distance, "void_in_distance": void, "separate_paths": separate}
    loss, terms = teach(TinyNetwork(1), **options)
    assert list(terms) == ["ce_a", "ce_b", "consistency"]
    torch.testing.assert_close(loss, sum(terms.values()))
    assert all(term > 0 for term in terms.values())


@pytest.mark.parametrize("separate", [True, False])
def test_teacher_terms_equal_two_noisings_worked_out_one_by_one(separate):
    teacher, generator = TinyNetwork(1).eval(), seeded(5)
    terms = teach(teacher, distance_stride=4, separate_paths=separate).terms
    a, b = (
        teacher(torch.cat([IMAGES, NOISING(TARGET, generator=generator)], 1)).logits
        for _ in range(2)
    )
    for name, logits in (("ce_a", a), ("ce_b", b)):
        expected = cross_entropy(full_size(logits, 2, (32, 32)), TARGET)
        torch.testing.assert_close(terms[name], expected)
    a, b, cwd = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2), DISTANCES["cwd"]
    expected = 0.5 * (cwd(a, b, temperature=4.0) + cwd(b, a, temperature=4.0))
    torch.testing.assert_close(terms["consistency"], expected)
    assert terms["ce_a"] != terms["ce_b"]


def test_separate_paths_differ_in_batch_statistics_alone():
    one, two = (teach(TinyNetwork(1), separate_paths=s).loss for s in (True, False))
    assert one != two


def test_a_zero_consistency_weight_drops_the_term():
    loss, terms = teach(TinyNetwork(1), consistency_weight=0)
    assert list(terms) == ["ce_a", "ce_b"]
    torch.testing.assert_close(loss, terms["ce_a"] + terms["ce_b"])


def test_auxiliary_terms_enter_once_per_path():
    loss, terms = teach(TinyNetwork(1, auxiliary_weight=0.4))
    names = ["ce_a", "auxiliary_a", "ce_b", "auxiliary_b", "consistency"]
    assert list(terms) == names
    torch.testing.assert_close(loss, sum(terms.values()))
    assert list(distil(TinyNetwork(auxiliary_weight=0.4), None).terms) == ["ce", "auxiliary"]


def test_auxiliary_terms_are_of_the_segmentation_loss_given():
    def constant(logits, target, *, stride):
        return logits.sum() * 0 + stride

    network = TinyNetwork(auxiliary_weight=0.4)
    terms = distil(network, None, segmentation_loss=constant).terms
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"ce": 2, "auxiliary": 0.4 * 4}
    )


def test_equal_paths_agree():
    silent = LabelNoising(num_classes=4, class_std=0, pixel_std=0)
    teacher = TinyNetwork(1).eval()
    terms = teacher_step(teacher, IMAGES, TARGET, silent, generator=seeded(), **TEACH).terms
    assert terms["consistency"].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(terms["ce_a"], terms["ce_b"])


def test_a_teacher_step_is_a_function_of_its_generator():
    teachers = [TinyNetwork(1) for _ in range(3)]
    with rng_untouched():
        losses = [
            teach(teacher, seed=seed).loss
            for teacher, seed in zip(teachers, (5, 5, 6), strict=True)
        ]
    assert losses[0] == losses[1] != losses[2]


def test_the_label_slice_of_the_teacher_gets_a_gradient():
    teacher = TinyNetwork(1)
    teach(teacher).loss.backward()
    assert teacher.stem.weight.grad[:, 3:].abs().max() > 0


@pytest.mark.parametrize("void", [True, False])
def test_an_all_void_batch_is_finite_for_teacher_and_student(void):
    target = torch.full_like(TARGET, 255)
    teacher, student = TinyNetwork(1), TinyNetwork(seed=1)
    taught = teach(teacher, target, void_in_distance=void)
    learned = distil(student, frozen(TinyNetwork(1, seed=2)), target, distiller=KD(void=void))
    for network, output in ((teacher, taught), (student, learned)):
        output.loss.backward()
        assert output.loss.isfinite()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(gradient.isfinite().all() for gradient in gradients)
        assert (output.loss > 0) == void


@pytest.mark.parametrize("segmentation_loss", [cross_entropy, hard_pixel_cross_entropy])
def test_steps_read_nothing_back_from_the_device(segmentation_loss):
    teacher, student = TinyNetwork(1, auxiliary_weight=0.4), TinyNetwork()
    options = {"segmentation_loss": segmentation_loss}
    with no_host_reads():
        teach(teacher, void_in_distance=False, **options).loss.backward()
        distil(student, frozen(teacher), distiller=KD(void=False), **options).loss.backward()


# a batch of distillation


@pytest.mark.parametrize("void", [True, False])
def test_student_terms_sum_to_the_loss(void):
    loss, terms = distil(TinyNetwork(), frozen(TinyNetwork(1, seed=1)), distiller=KD(void=void))
    assert list(terms) == ["ce", "kd"]
    torch.testing.assert_close(loss, sum(terms.values()))
    assert all(term > 0 for term in terms.values())


def test_student_terms_equal_a_computation_by_hand():
    student, teacher = TinyNetwork().eval(), frozen(TinyNetwork(1, seed=1))
    terms = distil(student, teacher, distiller=KD(stride=4)).terms
    mine = student(IMAGES).logits
    theirs = teacher(torch.cat([IMAGES, NOISING(TARGET, generator=seeded(5))], 1)).logits
    expected = cross_entropy(full_size(mine, 2, (32, 32)), TARGET)
    torch.testing.assert_close(terms["ce"], expected)
    mine, theirs = F.avg_pool2d(mine, 2), F.avg_pool2d(theirs, 2)
    expected = 0.25 * DISTANCES["kd"](mine, theirs, temperature=2.0)
    torch.testing.assert_close(terms["kd"], expected)


def test_the_student_learns_and_the_teacher_does_not():
    student, teacher = TinyNetwork(), TinyNetwork(1, seed=1).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    graphs = []
    teacher.register_forward_hook(lambda m, i, output: graphs.append(output.logits.requires_grad))
    distil(student, teacher).loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    trained = {name for name, p in student.named_parameters() if p.grad is not None}
    assert trained >= {"stem.weight", "body.weight", "head.weight"}
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in before.items())
    assert not teacher.training
    assert graphs == [False]


def test_without_a_teacher_there_is_only_the_cross_entropy():
    generator = seeded()
    before = generator.get_state()
    loss, terms = student_step(TinyNetwork(), None, IMAGES, TARGET, None, None, generator=generator)
    assert list(terms) == ["ce"]
    assert loss == terms["ce"]
    assert torch.equal(before, generator.get_state())


def test_a_plain_teacher_reads_the_image_alone():
    twin = TinyNetwork().eval()
    terms = distil(twin, frozen(TinyNetwork()), noising=None).terms
    assert terms["kd"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("stride", [2, 4])
def test_void_positions_enter_the_distance_only_when_asked(stride):
    student = TinyNetwork().eval()
    void = TARGET == 255
    assert 0 < void.float().mean() < 1

    class Wrong(nn.Module):
        """Agrees with the student except where the label is void."""

        def forward(self, images):
            outputs = student(images)
            shift = torch.tensor([9.0, 0, 0, 0])[None, :, None, None]
            return outputs._replace(logits=outputs.logits + shift * void[:, None, ::2, ::2])

    apart, left_out = (
        distil(student, Wrong(), noising=None, distiller=KD(stride=stride, void=v)).terms["kd"]
        for v in (True, False)
    )
    assert apart > 0.1
    assert left_out.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_networks_of_different_strides_meet_at_one(stride):
    teacher = frozen(TinyNetwork(1, seed=1))

    class Coarse(nn.Module):
        def forward(self, inputs):
            outputs = teacher(inputs)
            return outputs._replace(logits=F.avg_pool2d(outputs.logits, 4), stride=8)

    assert distil(TinyNetwork(), Coarse(), distiller=KD(stride=stride)).terms["kd"] > 0
