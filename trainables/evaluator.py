"""How good a network is on a split: its images embedded, their retrieval measured, by several processes alike."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from trainables.data import LabelledImages, RetrievalSplit
from trainables.data.loading import Batch
from trainables.distributed import World
from trainables.embedding import Forward
from trainables.evaluation import landmark_metrics, metric_means, per_query_landmarks, per_query_metrics
from trainables.experiment import Experiment
from trainables.models import RetrievalNet
from trainables.models.fusion import fused
from trainables.steps import Diverged

Progress = Callable[[str, int, int], None]  # (what, done, total)


class Evaluator:
    """Embeds and measures with the network as it is when asked.

    forward: of test pictures; load: (images, batch size) -> their batches. The processes of a world all ask alike.
    """

    def __init__(
        self,
        experiment: Experiment,
        net: RetrievalNet,
        forward: Forward,
        world: World,
        load: Callable[[LabelledImages, int], Iterator[Batch]],
        progress: Progress,
    ) -> None:
        self.embed_ms = float("nan")  # milliseconds an image of what was embedded last, loading included
        self._experience, self._ks = experiment.experience, experiment.dataset.ks
        self._net, self._forward, self._world = net, forward, world
        self._load, self._progress = load, progress

    def evaluate(self, split: RetrievalSplit, epoch: int) -> dict[str, float]:
        """The retrieval metrics on one split after so many epochs."""
        embeddings = self._both(split, epoch)
        return self._world.from_leader(lambda: self._measured(split, *embeddings))

    def by_query(self, split: RetrievalSplit, epoch: int) -> dict[str, np.ndarray]:
        """The same metrics by query, (N,) each, NaN where a query has no positive."""
        query, gallery = self._both(split, epoch)
        if split.ground_truth is not None and gallery is not None:
            return per_query_landmarks(query, gallery, split.ground_truth)
        return self._by_query(split, query, gallery)

    def embed(self, images: LabelledImages, epoch: int) -> Tensor:
        """(N, D) float32 embeddings in the order of the images. Diverged where one is not finite."""
        started = time.perf_counter()
        own = images.subset(self._whole_batches(len(images)))
        net: nn.Module = self._net.eval()
        if not self._forward.precision.enabled:  # a folded weight would be rounded to half precision otherwise
            net = fused(net)
        device = self._forward.precision.device
        rows = [torch.empty(0, self._net.embed_dim, device=device)]
        with torch.inference_mode():
            for batch, _, _ in self._load(own, self._experience.eval_bs):
                rows.append(self._forward(batch, net).float())
                self._progress("embed", min((len(rows) - 1) * self._experience.eval_bs, len(own)), len(own))
        embeddings = self._world.gather(torch.cat(rows))
        if not torch.isfinite(embeddings).all():  # waits for the device, too
            raise Diverged(f"an embedding is not finite after epoch {epoch}")
        self.embed_ms = 1000 * (time.perf_counter() - started) / max(1, len(images))
        return embeddings.clone()

    def _whole_batches(self, count: int) -> np.ndarray:
        """Positions of this process' share of `count` images: batches stay what they are in one process."""
        size = self._experience.eval_bs
        part = self._world.share(-(-count // size))
        return np.arange(part.start * size, min(part.stop * size, count))

    def _both(self, split: RetrievalSplit, epoch: int) -> tuple[Tensor, Tensor | None]:
        return self.embed(split.query, epoch), None if split.gallery is None else self.embed(split.gallery, epoch)

    def _measured(self, split: RetrievalSplit, query: Tensor, gallery: Tensor | None) -> dict[str, float]:
        if split.ground_truth is not None and gallery is not None:
            return landmark_metrics(query, gallery, split.ground_truth)
        return metric_means(self._by_query(split, query, gallery))

    def _by_query(self, split: RetrievalSplit, query: Tensor, gallery: Tensor | None) -> dict[str, np.ndarray]:
        return per_query_metrics(
            query,
            torch.as_tensor(split.query.labels),
            gallery,
            None if split.gallery is None else torch.as_tensor(split.gallery.labels),
            ks=self._ks,
            full_ranking=self._experience.with_AP,
        )
