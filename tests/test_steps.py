"""The two steps and the four predictors: terms, gradients, noise."""

import pytest
import torch
import torch.nn.functional as F

from labkit.lnm import LabelNoising
from labkit.losses import DISTANCES, cross_entropy
from labkit.steps import (
    assisted_input,
    noised_by_frame,
    predict_from_image,
    predict_with_foreign_label,
    predict_with_label,
    predict_with_zero_label,
    student_step,
    teacher_step,
)

NOISING = LabelNoising(num_classes=4, label_scale=3.0)
TEACH = {"consistency_weight": 0.5, "distance": DISTANCES["cwd"], "temperature": 4.0}
DISTIL = {"distillation_weight": 0.25, "distance": DISTANCES["kd"], "temperature": 2.0}
every_distance = pytest.mark.parametrize("distance", DISTANCES.values(), ids=DISTANCES.keys())


def seeded(seed: int = 5) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frozen(network):
    return network.eval().requires_grad_(False)


# a batch of teacher training


@every_distance
@pytest.mark.parametrize("void", [True, False])
def test_teacher_terms_sum_to_the_loss(tiny_network, make_batch, distance, void):
    loss, terms = teacher_step(
        tiny_network(1), make_batch(), NOISING, generator=seeded(), **TEACH | {"distance": distance}, void_in_distance=void
    )
    assert list(terms) == ["ce_a", "ce_b", "consistency"]
    torch.testing.assert_close(loss, sum(terms.values()))
    assert all(term > 0 for term in terms.values())


def test_teacher_terms_equal_two_noisings_worked_out_one_by_one(tiny_network, make_batch):
    teacher, batch, generator = tiny_network(1).eval(), make_batch(), seeded()
    _, terms = teacher_step(teacher, batch, NOISING, generator=seeded(), **TEACH, distance_stride=4)
    a, b = (teacher(torch.cat([batch.images, NOISING(batch.target, generator=generator)], 1)) for _ in range(2))
    torch.testing.assert_close(terms["ce_a"], cross_entropy(F.interpolate(a, scale_factor=2, mode="bilinear"), batch.target))
    torch.testing.assert_close(terms["ce_b"], cross_entropy(F.interpolate(b, scale_factor=2, mode="bilinear"), batch.target))
    a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    cwd = DISTANCES["cwd"]
    torch.testing.assert_close(terms["consistency"], 0.5 * (cwd(a, b, temperature=4.0) + cwd(b, a, temperature=4.0)))
    assert terms["ce_a"] != terms["ce_b"]


def test_a_zero_consistency_weight_drops_the_term(tiny_network, make_batch):
    loss, terms = teacher_step(tiny_network(1), make_batch(), NOISING, generator=seeded(), **TEACH | {"consistency_weight": 0})
    assert list(terms) == ["ce_a", "ce_b"]
    torch.testing.assert_close(loss, terms["ce_a"] + terms["ce_b"])


def test_equal_paths_agree(tiny_network, make_batch):
    silent = LabelNoising(num_classes=4, class_std=0, pixel_std=0)
    terms = teacher_step(tiny_network(1).eval(), make_batch(), silent, generator=seeded(), **TEACH).terms
    assert terms["consistency"].item() == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(terms["ce_a"], terms["ce_b"])


def test_a_teacher_step_is_a_function_of_its_generator(tiny_network, make_batch, rng_untouched):
    with rng_untouched():
        losses = [teacher_step(tiny_network(1), make_batch(), NOISING, generator=seeded(s), **TEACH).loss for s in (5, 5, 6)]
    assert losses[0] == losses[1] != losses[2]


def test_the_label_slice_of_the_teacher_gets_a_gradient(tiny_network, make_batch):
    teacher = tiny_network(1)
    teacher_step(teacher, make_batch(), NOISING, generator=seeded(), **TEACH).loss.backward()
    assert teacher.encoder.stem.weight.grad[:, 3:].abs().max() > 0


@pytest.mark.parametrize("void", [True, False])
def test_an_all_void_batch_is_finite_for_teacher_and_student(tiny_network, make_batch, void):
    batch = make_batch()
    batch = batch._replace(target=torch.full_like(batch.target, 255))
    for distance in DISTANCES.values():
        teacher, student = tiny_network(1), tiny_network(seed=1)
        options = {"generator": seeded(), "distance": distance, "temperature": 2.0, "void_in_distance": void}
        taught = teacher_step(teacher, batch, NOISING, **options, consistency_weight=1.0)
        learned = student_step(student, frozen(tiny_network(1, seed=2)), batch, NOISING, **options, distillation_weight=1.0)
        for network, output in ((teacher, taught), (student, learned)):
            output.loss.backward()
            assert output.loss.isfinite()
            assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
            assert (output.loss > 0) == void


# a batch of distillation


@every_distance
@pytest.mark.parametrize("void", [True, False])
def test_student_terms_sum_to_the_loss(tiny_network, make_batch, distance, void):
    loss, terms = student_step(
        tiny_network(), frozen(tiny_network(1, seed=1)), make_batch(), NOISING, generator=seeded(),
        **DISTIL | {"distance": distance}, void_in_distance=void,
    )  # fmt: skip
    assert list(terms) == ["ce", "distillation"]
    torch.testing.assert_close(loss, sum(terms.values()))
    assert all(term > 0 for term in terms.values())


def test_student_terms_equal_a_computation_by_hand(tiny_network, make_batch):
    student, teacher, batch = tiny_network().eval(), frozen(tiny_network(1, seed=1)), make_batch()
    _, terms = student_step(student, teacher, batch, NOISING, generator=seeded(), **DISTIL, distance_stride=4)
    mine = student(batch.images)
    shown = teacher(torch.cat([batch.images, NOISING(batch.target, generator=seeded())], 1))
    torch.testing.assert_close(terms["ce"], cross_entropy(F.interpolate(mine, scale_factor=2, mode="bilinear"), batch.target))
    expected = 0.25 * DISTANCES["kd"](F.avg_pool2d(mine, 2), F.avg_pool2d(shown, 2), temperature=2.0)
    torch.testing.assert_close(terms["distillation"], expected)


def test_the_student_learns_and_the_teacher_does_not(tiny_network, make_batch):
    student, teacher = tiny_network(), tiny_network(1, seed=1).eval()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    teacher.register_forward_hook(lambda module, inputs, output: graphs.append(output.requires_grad))
    graphs = []
    student_step(student, teacher, make_batch(), NOISING, generator=seeded(), **DISTIL).loss.backward()
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(parameter.grad is not None for parameter in student.parameters())
    assert all(torch.equal(value, teacher.state_dict()[name]) for name, value in before.items())
    assert not teacher.training
    assert graphs == [False]


def test_without_a_teacher_there_is_only_the_cross_entropy(tiny_network, make_batch):
    generator = seeded()
    before = generator.get_state()
    loss, terms = student_step(tiny_network(), None, make_batch(), None, generator=generator, **DISTIL)
    assert list(terms) == ["ce"]
    assert loss == terms["ce"]
    assert torch.equal(before, generator.get_state())


def test_a_plain_teacher_is_shown_the_image_alone(tiny_network, make_batch):
    twin = tiny_network().eval()
    terms = student_step(twin, frozen(tiny_network()), make_batch(), None, generator=seeded(), **DISTIL).terms
    assert terms["distillation"].item() == pytest.approx(0, abs=1e-6)


def test_void_positions_enter_the_distance_only_when_asked(tiny_network, make_batch):
    student, batch = tiny_network().eval(), make_batch()
    void = (batch.target == 255)[:, None]
    assert 0 < void.float().mean() < 1

    class Wrong(torch.nn.Module):
        """Agrees with the student but where the label is void."""

        label_channels, output_stride = 0, 2

        def forward(self, images):
            shift = torch.tensor([9.0, 0, 0, 0])[None, :, None, None]
            return student(images) + shift * void[..., ::2, ::2]

    for stride in (2, 4):
        options = {"generator": seeded(), **DISTIL, "distance_stride": stride}
        apart, left_out = (student_step(student, Wrong(), batch, None, **options, void_in_distance=v) for v in (True, False))
        assert apart.terms["distillation"] > 0.1
        assert left_out.terms["distillation"].item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("distance_stride", [1, 2, 4, 8])
def test_networks_of_different_strides_meet_at_one(tiny_network, make_batch, distance_stride):
    teacher = frozen(tiny_network(1, seed=1))

    class Coarse(torch.nn.Module):
        label_channels, output_stride = 1, 8

        def forward(self, inputs):
            return F.avg_pool2d(teacher(inputs), 4)

    output = student_step(tiny_network(), Coarse(), make_batch(), NOISING, generator=seeded(), **DISTIL, distance_stride=distance_stride)
    assert output.terms["distillation"] > 0


# predictors


def test_predictors_give_full_size_logits_of_what_they_are_shown(tiny_network, make_batch):
    teacher, batch = tiny_network(1).eval(), make_batch(3)
    with torch.no_grad():
        for predict, target in ((predict_with_label, batch.target), (predict_with_foreign_label, batch.foreign_target)):
            shown = noised_by_frame(NOISING, target, batch.index, seed=1)
            expected = F.interpolate(teacher(assisted_input(batch.images, shown)), scale_factor=2, mode="bilinear")
            torch.testing.assert_close(predict(teacher, batch, NOISING, seed=1), expected)
        plain = tiny_network().eval()
        expected = F.interpolate(plain(batch.images), scale_factor=2, mode="bilinear")
        torch.testing.assert_close(predict_from_image(plain, batch), expected)


def test_a_zero_label_equals_a_network_given_zeros(tiny_network, make_batch):
    batch = make_batch(2)
    for channels in (1, 3):
        teacher = tiny_network(channels).eval()
        zeros = torch.zeros(2, channels, 32, 32)
        with torch.no_grad():
            expected = teacher.to_full_size(teacher(torch.cat([batch.images, zeros], 1)), (32, 32))
            assert torch.equal(predict_with_zero_label(teacher, batch), expected)


def test_noise_belongs_to_the_frame_however_frames_are_batched(make_batch, rng_untouched):
    batch = make_batch(4)
    with rng_untouched():
        whole = noised_by_frame(NOISING, batch.target, batch.index, seed=2)
        single = [noised_by_frame(NOISING, batch.target[i : i + 1], batch.index[i : i + 1], seed=2) for i in range(4)]
    assert torch.equal(whole, torch.cat(single))
    same_target = batch.target[:1].expand(4, -1, -1)
    frames = noised_by_frame(NOISING, same_target, batch.index, seed=2)
    assert not torch.equal(frames[0], frames[1])
    assert not torch.equal(frames[0], noised_by_frame(NOISING, same_target, batch.index, seed=3)[0])


def test_true_foreign_and_zero_label_are_three_answers(tiny_network, make_batch):
    teacher, batch = tiny_network(1).eval(), make_batch(4)
    with torch.no_grad():
        true = predict_with_label(teacher, batch, NOISING, seed=0)
        foreign = predict_with_foreign_label(teacher, batch, NOISING, seed=0)
        zero = predict_with_zero_label(teacher, batch)
    assert not torch.allclose(true, foreign)
    assert not torch.allclose(true, zero)
