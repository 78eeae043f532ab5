"""Mini-batches of images, drawn so that a resumed run sees the very ones it would have seen."""

import numpy as np
import torch
from torch import Tensor

from submission.datasets.dataset import Dataset


class Batches:
    """Batches of a data set in an order that depends only on the seed, the stream and the step.

    Every epoch is a fresh permutation of all images; the last, incomplete batch is left out.

    Args:
        dataset: The images.
        batch_size: Images a batch.
        seed: The run's seed.
        stream: Tells apart independent orders of one run (phases, FactorVAE's second batch).
        device: Where the batches shall be.
    """

    def __init__(
        self, dataset: Dataset, batch_size: int, seed: int, stream: int, device: torch.device
    ) -> None:
        self.dataset = dataset
        self.batch_size = min(batch_size, len(dataset.images))
        self.device = device
        self._seed = (seed, stream)
        self._epoch = -1
        self._order = np.empty(0, dtype=np.int64)

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.dataset.images) // self.batch_size

    def __call__(self, step: int) -> Tensor:
        """The batch of a step: float32 `[batch, channels, 64, 64]` in [0, 1], channels last."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = np.random.default_rng([*self._seed, epoch])
            self._order = generator.permutation(len(self.dataset.images))
            self._epoch = epoch
        indices = self._order[position * self.batch_size : (position + 1) * self.batch_size]
        if self.dataset.paint is None:
            pixels = torch.from_numpy(self.dataset.images[indices])
            images = pixels.to(self.device, non_blocking=True).float() / self.dataset.white
        else:
            entropy = np.random.SeedSequence([*self._seed, step]).generate_state(1)
            state = np.random.RandomState(entropy)
            images = torch.from_numpy(self.dataset.observe(indices, state)).to(self.device)
        # NHWC memory seen as NCHW is PyTorch's channels-last layout; nothing is copied.
        return images.permute(0, 3, 1, 2)
