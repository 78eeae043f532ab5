"""How capacity and learning rate change during training."""

from typing import Annotated

import gin
import torch

from submission.values import Interval, Share


@gin.configurable("capacity")
def capacity(
    step: int,
    planned_steps: int,
    final: Annotated[float, Interval(ge=0, le=1e9)] = 25.0,
    steps: Annotated[int, Interval(ge=0, le=10**9)] = 2000,
    share: Share | None = None,
) -> float:
    """C of the paper's Eq. 2: from 0 linearly up to `final`, then constant (paper, Section 3).

    Args:
        step: Optimisation steps done.
        planned_steps: Steps that the budget is expected to afford.
        final: The last value, in nats.
        steps: Steps of the increase.
        share: If given, the increase takes at most this share of the planned steps, so that a
            short budget still reaches `final`.

    Returns:
        The capacity in nats.

    Example:
        >>> [capacity(step, planned_steps=4000) for step in (0, 1000, 2000, 3000)]
        [0.0, 12.5, 25.0, 25.0]
    """
    length = steps if share is None else min(steps, share * planned_steps)
    return final * min(1.0, step / max(1.0, length))


@gin.configurable("plateau")
def plateau(
    optimizer: torch.optim.Optimizer,
    factor: Annotated[float, Interval(gt=0, lt=1)] = 0.95,
    patience: Annotated[int, Interval(ge=0, le=10**9)] = 1,
    minimum: Annotated[float, Interval(ge=0, le=1)] = 1e-4,
) -> torch.optim.lr_scheduler.ReduceLROnPlateau:
    """The paper's learning rate: times `factor` after two epochs running without a lower loss.

    PyTorch's `patience` counts the epochs that are let pass, so 1 acts upon the second one. Its
    relative threshold is switched off: the paper says "did not decrease".

    Args:
        optimizer: Whose learning rate is reduced.
        factor: What it is multiplied by.
        patience: Epochs without improvement that are let pass.
        minimum: The lowest learning rate.
    """
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=factor, patience=patience, threshold=0.0, min_lr=minimum
    )
