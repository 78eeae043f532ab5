"""Every setting of a run's training on one page; `gin/` holds what methods and presets set.

The networks' shape (`network`), the capacity and the learning rate's schedule (`capacity`,
`plateau`) and the choice of the width (`width`) stand beside what they configure;
docs/settings.md lists all.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import gin

from submission.budget import (
    Duration,
)
from submission.networks import Discriminator
from submission.objectives import Objective
from submission.supervision import RESTARTS
from submission.training.evaluator_settings import EvaluatorSettings
from submission.values import Interval, Needs, Seed, Share

PRETRAINING = "pretraining"
TRAINING = "training"
SECOND_BATCH = "second batch"

STREAMS = {PRETRAINING: 0, TRAINING: 1, SECOND_BATCH: 2}
"""Numbers that keep the random streams of one seed apart."""

LearningRate = Annotated[float, Interval(gt=0, le=1)]
AdamBeta = Annotated[float, Interval(ge=0, lt=1)]
_WITH_DISCRIMINATOR = Needs("trainer.discriminator")


@gin.configurable("trainer")
@dataclass(frozen=True)
class Recipe:
    """What the paper calls the experiment's settings; `gin/` holds their values.

    Attributes:
        objective: The method's loss, from `submission.objectives`.
        budget: Wall-clock time, such as `8h`; export and a margin are part of it.
        max_steps: Steps after which training ends even if time is left.
        batch_size: Images a step; total correlation, covariances and MMD compare two at least.
        learning_rate: Adam's, at the start.
        adam_betas: Adam's.
        seed: Seeds weights, noise and the order of the images.
        discriminator: FactorVAE's classifier, made from the number of latents.
        discriminator_learning_rate: Its Adam's.
        discriminator_adam_betas: Its Adam's.
        discriminator_first: Update it before the VAE in each step, as in the authors' code
            (`models/vae.py`), not after it.
        constant_second_batch: Show it the first batch of an epoch as the second batch of every
            step, as in the authors' code (`models/vae.py`), not one of its own.
        checkpoint_every: Time between two checkpoints, each with an export.
        log_every: Steps between two rows of the history.
        snapshot_every: Training steps between two representations that are kept, the first of them
            before the first step; None keeps only the last.
        restarts: How often a training that crashes is started again, from its last checkpoint and
            inside its budget; `torchrun` has a way of its own.
    """

    objective: Objective = gin.REQUIRED
    budget: Annotated[str, Duration(above_zero=True)] = "8h"
    max_steps: Annotated[int, Interval(ge=0, le=10**9)] = 100_000
    batch_size: Annotated[int, Interval(ge=2, le=2**16)] = 64
    learning_rate: LearningRate = 1e-3
    adam_betas: tuple[AdamBeta, AdamBeta] = (0.9, 0.999)
    seed: Seed = 0
    discriminator: Callable[[int], Discriminator] | None = None
    discriminator_learning_rate: Annotated[LearningRate, _WITH_DISCRIMINATOR] = 1e-4
    discriminator_adam_betas: Annotated[tuple[AdamBeta, AdamBeta], _WITH_DISCRIMINATOR] = (0.5, 0.9)
    discriminator_first: Annotated[bool, _WITH_DISCRIMINATOR] = False
    constant_second_batch: Annotated[bool, _WITH_DISCRIMINATOR] = False
    checkpoint_every: Annotated[str, Duration()] = "5m"
    log_every: Annotated[int, Interval(ge=1, le=10**9)] = 50
    snapshot_every: Annotated[int, Interval(ge=1, le=10**9)] | None = None
    restarts: Annotated[int, Interval(ge=0, le=1000)] = RESTARTS


@gin.configurable("pretraining")
@dataclass(frozen=True)
class Pretraining:
    """The paper's pre-training (Section 2.1), whose weights all methods start from.

    Attributes:
        objective: The conventional VAE's loss.
        steps: Steps; 0 switches it off.
        share: The largest share of the time for training that it may use.
    """

    objective: Annotated[Objective, Needs("pretraining.steps")] = gin.REQUIRED
    steps: Annotated[int, Interval(ge=0, le=10**9)] = 0
    share: Annotated[Share, Needs("pretraining.steps")] = 0.2


@gin.configurable("speed")
@dataclass(frozen=True)
class Speed:
    """What may be used to make a step faster.

    Attributes:
        phases: The decoder's polyphase form.
        compile: `torch.compile`.
        compile_from: The shortest budget that `torch.compile` is tried in: it takes half a minute,
            and on the CPUs measured so far it gained at most 6%.
        cuda_graphs: On a GPU, with CUDA graphs.
        tf32: On a GPU, matrix products of float32 with TF32's 10 bits of mantissa.
        bfloat16: Autocast to bfloat16. It changes the numbers more than rounding does (8 bits of
            mantissa), so it isn't measured but done as told.
        resident: On a GPU, the whole data set in its memory if it fits.
        cpu_fallback: Where a GPU fails, or its plain step isn't the CPU's, train on the CPU; False
            ends the run with one line.
        measure: Take the fastest form of a few measured steps, and on a GPU cuDNN's fastest
            kernels; else the first ones, so that on the CPU two runs with a seed are equal to the
            last bit on a busy machine too.
    """

    phases: bool = True
    compile: bool = True
    compile_from: Annotated[str, Duration(), Needs("speed.compile")] = "1h"
    cuda_graphs: Annotated[bool, Needs("speed.compile")] = True
    tf32: bool = True
    bfloat16: bool = False
    resident: bool = True
    cpu_fallback: bool = True
    measure: bool = True


@gin.configurable("scoring")
@dataclass(frozen=True)
class Scoring:
    """Whether and how often training scores itself.

    Attributes:
        every: Time from one snapshot to the next, such as `10m`; None switches it off. It grows
            where the share asks for it.
        share: The largest share of the budget that goes into it: the evaluator's CPU seconds and
            the time that the snapshots take.
        settings: The evaluator's settings, such as `dci.num_train = 1000`, for smaller samples than
            the challenge's.
    """

    every: Annotated[str, Duration()] | None = None
    share: Annotated[Share, Needs("scoring.every")] = 0.1
    settings: Annotated[tuple[str, ...], EvaluatorSettings(), Needs("scoring.every")] = ()
