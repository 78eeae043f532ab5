"""How capacity and learning rate change during training."""

from dataclasses import dataclass
from typing import Annotated

import gin
import torch

from submission.values import Interval, Share


@gin.configurable("capacity")
@dataclass(frozen=True)
class Capacity:
    """C of the paper's Eq. 2: from 0 linearly up to `final`, then constant (paper, Section 3).

    Attributes:
        final: The last value, in nats.
        steps: Steps of the increase.
        share: If given, the increase takes at most this share of the planned steps, so that a
            short budget still reaches `final`.
        of_batch_mean: Whether C is held against the batch's mean KL, as in the authors' code, and
            not against each image's.
    """

    final: Annotated[float, Interval(ge=0, le=1e9)] = 25.0
    steps: Annotated[int, Interval(ge=0, le=10**9)] = 2000
    share: Share | None = None
    of_batch_mean: bool = False

    def at(self, step: int, planned_steps: int) -> float:
        """The capacity in nats.

        Args:
            step: Optimisation steps done.
            planned_steps: Steps that the budget is expected to afford.

        Example:
            >>> [Capacity().at(step, planned_steps=4000) for step in (0, 1000, 2000, 3000)]
            [0.0, 12.5, 25.0, 25.0]
        """
        share = self.share
        length = self.steps if share is None else min(self.steps, share * planned_steps)
        return self.final * min(1.0, step / max(1.0, length))


@gin.configurable("plateau")
def plateau(
    optimizer: torch.optim.Optimizer,
    factor: Annotated[float, Interval(gt=0, lt=1)] = 0.95,
    patience: Annotated[int, Interval(ge=0, le=10**9)] = 1,
    minimum: Annotated[float, Interval(ge=0, le=1)] = 1e-4,
    threshold: Annotated[float, Interval(ge=0, lt=1)] = 0.0,
) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """The paper's learning rate: times `factor` after two epochs running without a lower loss.

    PyTorch's `patience` counts the epochs that are let pass, so 1 acts upon the second one. Its
    relative threshold is 0: the paper says "did not decrease". The authors' script
    (`scripts/aicrowd_challenge.sh`) leaves it at PyTorch's 1e-4.

    Args:
        optimizer: Whose learning rate is reduced.
        factor: What it is multiplied by.
        patience: Epochs without improvement that are let pass.
        minimum: The lowest learning rate.
        threshold: Share of the lowest loss by which a loss must be lower to count as such.
    """
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=threshold, min_lr=minimum
    )
