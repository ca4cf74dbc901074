"""The table of networks and shapes that a training prints."""

from types import SimpleNamespace

from labkit.networks import build_network
from labkit.training.fit import describe_networks, fit
from labkit.training.shapes import Named, grid, shape_lines
from tests.training import student, teacher, tiny_networks  # noqa: F401  a fixture

ENCODER = "tu-mobilenetv3_small_050"


def named(architecture, **options) -> Named:
    network = build_network(architecture, ENCODER, num_classes=8, **options)
    return Named(SimpleNamespace(architecture=architecture, encoder=ENCODER), network)


def test_networks_of_different_strides_meet_on_the_coarser_grid():
    networks = {"student": named("unet"), "teacher": named("fpn", label_channels=3)}
    title, ours, theirs, distance = shape_lines(networks, crop=(45, 70))
    assert title.split() == ["network", "inputs", "stride", "logits", "parameters"]
    size = sum(value.numel() for value in networks["student"].network.parameters())
    assert ours.split() == f"student unet, {ENCODER} 3 1 8 x 45 x 70 {size:,}".split()
    assert theirs.split()[:-1] == f"teacher fpn, {ENCODER} 6 4 8 x 12 x 18".split()
    assert distance == "distance of student and teacher: at stride 4, 12 x 18 positions"
    coarser = shape_lines(networks, crop=(64, 64), distance_stride=8)[-1]
    assert coarser.endswith("at stride 8, 8 x 8 positions")


def test_the_two_paths_of_a_teacher_meet_at_the_distance_s_stride():
    assisted = {"teacher": named("unet", label_channels=1)}
    lines = shape_lines(assisted, crop=(64, 128), distance_stride=4)
    assert lines[-1] == "distance of the two paths: at stride 4, 16 x 32 positions"
    assert len(shape_lines({"teacher": named("unet")}, crop=(64, 128), distance_stride=4)) == 2


def test_a_training_prints_its_networks(tmp_path, capsys):
    assisted = teacher(tmp_path, train_steps=1)
    fit(assisted)
    assert "distance of the two paths: at stride 4, 16 x 16 positions" in capsys.readouterr().out
    taught = student(tmp_path, train_steps=1, teacher=assisted.run.run_id, **{"cwd.stride": 8})
    taught.network.left_over = ("fc.weight",)
    lines = describe_networks(taught)
    assert [line.split()[0] for line in lines[1:3]] == ["student", "teacher"]
    assert "at stride 8, 8 x 8" in lines[3]
    assert lines[4] == "encoder weights: left over in the file: fc.weight"


def test_a_grid_covers_the_image():
    assert grid((45, 64), 8) == (6, 8)
