"""Cross-image relational distillation: pixels of the batch, and queues of earlier ones."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from labkit.distillers.base import (
    FeatureDistiller,
    check_at_least,
    class_membership,
    pooling_for,
    target_at_size,
    unit_vectors,
)
from labkit.method import IGNORE_INDEX, Outputs

EMPTY = -1e4  # cosine that gives an entry of an empty queue the probability 0


class CrossImageRelations(FeatureDistiller):
    """Compares each pixel's similarities to the pixels of all images and to remembered ones.

    pixel_weight * P + memory_weight * (M_pixels + M_regions); similarities are cosines / T, KL of
    softmaxes, teacher against student, in nats, no T^2.
    P: for each ordered pair of images (i, j), i = j included: rows are the m pooled positions of i,
    softmax over the m of j; mean over rows and pairs. 0 at equality.
    M: the student's feature goes through a projection (linear, normalisation, ReLU, linear to the
    teacher's width); softmax over entries drawn from the queues of all classes, which hold the
    teacher's unit vectors; mean over labelled positions. M_regions: queues of class means per
    image. The batch enters the queues before it is compared. Not 0 at equality.

    Args:
        pixel_weight, memory_weight: of the parts; 0 leaves a part out, queues included.
        stage: encoder stage, finest first; -1 is the last.
        temperature: T.
        max_nodes: positions per image, at most; P averages, M skips positions until so many are
            left. The largest matrix is (N * max_nodes) x max(N * max_nodes, drawn entries).
        pixel_queue, region_queue: entries per class.
        pixels_drawn, regions_drawn: entries compared with, over all classes.
        pixels_kept: positions per class and image that enter a queue, at most.

    Source: Yang et al. 2022, arXiv 2204.06986; weights 1 and .1, T .1 as its code, which adds KD:
    "kd+cirkd".
    Differs: positions are bounded. Queues hold only vectors of their class and wrap as a ring; only
    filled entries are compared with (its code draws from the image's first pixels, restarts at 0
    and compares with random vectors at first). Queues default to 2000 and 200 per class instead of
    20000 and 2000. LayerNorm over channels instead of BatchNorm: positions do not mix, a
    batch of one works.
    Tap: encoder stage.
    """

    def __init__(
        self,
        student: Outputs,
        teacher: Outputs,
        *,
        weight: float = 1.0,
        pixel_weight: float = 1.0,
        memory_weight: float = 0.1,
        stage: int = -1,
        temperature: float = 0.1,
        max_nodes: int = 256,
        pixel_queue: int = 2000,
        region_queue: int = 200,
        pixels_drawn: int = 4096,
        regions_drawn: int = 1024,
        pixels_kept: int = 16,
    ) -> None:
        super().__init__(student, teacher, weight=weight, stage=stage, same_width=False)
        check_at_least(0, pixel_weight=pixel_weight, memory_weight=memory_weight)
        check_at_least(1e-3, temperature=temperature)
        check_at_least(1, max_nodes=max_nodes, pixel_queue=pixel_queue, region_queue=region_queue)
        check_at_least(
            1, pixels_drawn=pixels_drawn, regions_drawn=regions_drawn, pixels_kept=pixels_kept
        )
        self.pixel_weight, self.memory_weight = pixel_weight, memory_weight
        self.temperature, self.max_nodes = temperature, max_nodes
        self.pixels_kept = pixels_kept
        if memory_weight:
            classes = student.logits.shape[1]
            narrow, wide = student.features[stage].shape[1], teacher.features[stage].shape[1]
            self.adapters["projection"] = nn.Sequential(
                nn.Linear(narrow, wide, bias=False),
                nn.LayerNorm(wide),
                nn.ReLU(),
                nn.Linear(wide, wide, bias=False),
            )
            self.note(f"projection: linear, norm, ReLU, linear from {narrow} to {wide} channels")
            self.pixels = ClassQueues(classes, pixel_queue, wide, drawn=pixels_drawn)
            self.regions = ClassQueues(classes, region_queue, wide, drawn=regions_drawn)

    def loss(self, student: Outputs, teacher: Outputs, target: Tensor) -> Tensor:
        f, g = self.feature_pair(student, teacher)
        value = f.new_zeros(())
        if self.pixel_weight:
            value = value + self.pixel_weight * self._between_images(f, g)
        if self.memory_weight:
            value = value + self.memory_weight * self._against_memory(f, g, target)
        return value

    def _between_images(self, f: Tensor, g: Tensor) -> Tensor:
        window = pooling_for((f.shape[2], f.shape[3]), least=1, most_nodes=self.max_nodes)
        f, g = (_unit_rows(F.avg_pool2d(x, window, ceil_mode=True)) for x in (f, g))  # (N, m, C)
        divergence = f.new_zeros(())
        for rows_f, rows_g in zip(f, g, strict=True):  # (m, C) against all images
            s, t = (torch.matmul(rows, x.mT) for rows, x in ((rows_f, f), (rows_g, g)))  # (N, m, m)
            divergence = divergence + self._divergence(s, t).mean()
        return divergence / len(f)

    def _against_memory(self, f: Tensor, g: Tensor, target: Tensor) -> Tensor:
        ids = target_at_size(target, (f.shape[2], f.shape[3]))
        generator = self.generator(f.device)
        if self.training:
            self._remember(g, ids, generator)
        step = pooling_for((f.shape[2], f.shape[3]), least=1, most_nodes=self.max_nodes)
        f, g = (x[..., ::step, ::step].flatten(2).mT.flatten(0, 1) for x in (f, g))  # (N*m, C)
        f, g = unit_vectors(self.adapters["projection"](f), 1), unit_vectors(g, 1)
        labelled = (ids[:, ::step, ::step] != IGNORE_INDEX).flatten()
        total = f.new_zeros(())
        for queues in (self.pixels, self.regions):
            entries, filled = queues.draw(generator)
            s, t = ((x @ entries.T).masked_fill(~filled, EMPTY) for x in (f, g))
            rows = self._divergence(s, t).masked_fill(~labelled, 0)
            total = total + rows.sum() / labelled.sum().clamp(min=1)
        return total

    def _divergence(self, s: Tensor, t: Tensor) -> Tensor:
        """KL(teacher || student) of softmaxes over the last dimension of two maps of cosines."""
        log_s, log_t = ((x / self.temperature).log_softmax(-1) for x in (s, t))
        return (log_t.exp() * (log_t - log_s)).sum(-1)

    @torch.no_grad()
    def _remember(self, g: Tensor, ids: Tensor, generator: torch.Generator) -> None:
        """The teacher's vectors of each class enter the queues: some pixels and image means."""
        member = class_membership(ids, self.pixels.classes, g.dtype)  # (N, K, h*w)
        kept = min(self.pixels_kept, member.shape[2])
        order = torch.rand(member.shape, generator=generator, device=g.device)
        own, chosen = (member * (1 + order)).topk(kept, 2)  # own >= 1 where of the class
        rows = _unit_rows(g)  # (N, h*w, C)
        n, classes, _ = chosen.shape
        vectors = rows.gather(1, chosen.flatten(1).unsqueeze(2).expand(-1, -1, rows.shape[2]))
        vectors = vectors.view(n, classes, kept, -1).transpose(0, 1).flatten(1, 2)
        self.pixels.put(vectors, (own >= 1).transpose(0, 1).flatten(1))
        means = unit_vectors(
            member @ g.flatten(2).mT, 2
        )  # (N, K, C); the sum has the same direction
        self.regions.put(means.transpose(0, 1), (member.sum(2) > 0).T)


class ClassQueues(nn.Module):
    """One ring of vectors per class. Buffers: checkpointed, never trained.

    `vectors` has one slot more than the ring, for writes that are dropped; it stays 0.
    """

    def __init__(self, classes: int, size: int, width: int, *, drawn: int) -> None:
        super().__init__()
        self.classes, self.size, self.drawn = classes, size, max(1, drawn // classes)
        self.register_buffer("vectors", torch.zeros(classes, size + 1, width))
        self.register_buffer("pointer", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("filled", torch.zeros(classes, dtype=torch.int64))

    @torch.no_grad()
    def put(self, vectors: Tensor, valid: Tensor) -> None:
        """Appends the valid vectors of each class; the newest `size` of them stay.

        Args:
            vectors: (K, M, C).
            valid: (K, M) bool.
        """
        number = valid.cumsum(1) - 1
        count = valid.sum(1)
        enters = valid & (number >= (count - self.size)[:, None])
        slot = (self.pointer[:, None] + number) % self.size
        slot = slot.masked_fill(~enters, self.size).unsqueeze(2).expand_as(vectors)
        self.vectors.scatter_(1, slot, vectors.to(self.vectors.dtype))
        self.vectors[:, self.size] = 0
        self.pointer.add_(count).remainder_(self.size)
        self.filled.add_(count).clamp_(max=self.size)

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same random share of each class's ring.

        Returns:
            (K * drawn, C) vectors and (K * drawn,) bool, False for classes that are still empty.
        """
        share = torch.rand(self.drawn, generator=generator, device=self.vectors.device)
        slot = (share * self.filled[:, None]).long().clamp(max=self.size - 1)  # (K, drawn)
        entries = self.vectors.gather(1, slot.unsqueeze(2).expand(-1, -1, self.vectors.shape[2]))
        filled = (self.filled > 0)[:, None].expand_as(slot)
        return entries.flatten(0, 1), filled.flatten()


def _unit_rows(features: Tensor) -> Tensor:
    """(N, C, h, w) -> (N, h*w, C) unit vectors."""
    return unit_vectors(features.flatten(2).mT, 2)
