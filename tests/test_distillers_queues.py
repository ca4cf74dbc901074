"""CIRKD's queues: vectors of the right class, a ring, and only filled entries drawn."""

import torch

from labkit.distillers.cirkd import ClassQueues
from tests.distiller_cases import build
from tests.tiny import block_target, random_outputs, seeded


def put(queues, *batches):
    """Each batch is one list of numbers per class; None is not valid."""
    for batch in batches:
        values = torch.tensor([[0.0 if x is None else x for x in row] for row in batch])
        valid = torch.tensor([[x is not None for x in row] for row in batch])
        queues.put(values.unsqueeze(2), valid)


def rings(queues):
    return queues.vectors[:, : queues.size, 0].tolist()


def test_a_ring_wraps_and_keeps_the_newest():
    queues = ClassQueues(2, 3, 1, drawn=4)
    put(queues, [[1, None, 2], [None, None, None]])
    assert rings(queues) == [[1, 2, 0], [0, 0, 0]]
    assert queues.filled.tolist() == [2, 0]
    put(queues, [[3, 4, None], [None, 7, None]])
    assert rings(queues) == [[4, 2, 3], [7, 0, 0]]
    assert queues.pointer.tolist() == [1, 1]
    put(queues, [[5, 6, 7], [None, None, 8]])
    assert rings(queues) == [[7, 5, 6], [7, 8, 0]]
    assert queues.filled.tolist() == [3, 2]


def test_more_than_a_ring_at_once_keeps_the_newest():
    queues = ClassQueues(1, 3, 1, drawn=4)
    put(queues, [[1, None]], [[2, 3, None, 4, 5, 6]])
    assert sorted(rings(queues)[0]) == [4, 5, 6]
    assert queues.pointer.item() == 0


def test_only_filled_entries_are_drawn_the_same_slots_for_each_class():
    queues = ClassQueues(3, 10, 1, drawn=60)
    put(queues, [[1, 2, 3], [11, 12, 13], [None] * 3])
    entries, filled = queues.draw(seeded())
    entries, filled = entries.view(3, 20), filled.view(3, 20)
    assert set(entries[0].tolist()) == {1, 2, 3}
    assert torch.equal(entries[1], entries[0] + 10)
    assert filled[:2].all()
    assert not filled[2].any()


def test_queues_hold_unit_vectors_of_their_class_alone():
    """The teacher's features point along an axis that names the class under the position."""
    student, teacher = random_outputs(size=(8, 8)), random_outputs(size=(8, 8), seed=1)
    student, teacher = (x._replace(features=x.features[:1]) for x in (student, teacher))
    target = block_target(2, 32, 32, side=4)
    ids = target[:, 1::4, 1::4]
    axes = torch.nn.functional.one_hot(ids.clamp(max=4), 6).movedim(-1, 1).float()
    teacher = teacher._replace(features=(3 * axes,))
    distiller = build("cirkd", student, teacher)
    for _ in range(5):
        distiller(student, teacher, target)
    for queues in (distiller.parts["cirkd"].pixels, distiller.parts["cirkd"].regions):
        assert (queues.filled > 0).all()
        for k in range(4):
            held = queues.vectors[k, : queues.filled[k]]
            torch.testing.assert_close(held, torch.eye(6)[k].expand_as(held))


def test_evaluation_leaves_the_queues_alone():
    student, teacher = random_outputs(), random_outputs(seed=1)
    distiller = build("cirkd", student, teacher)
    target = block_target(2, 16, 24, side=4)
    distiller(student, teacher, target)
    before = {name: value.clone() for name, value in distiller.state_dict().items()}
    distiller.eval()(student, teacher, target)
    after = distiller.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
