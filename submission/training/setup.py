"""What stays the same for a whole run: its request, its settings, and what is made from them.

Of the request, the device may change: to the CPU, from a GPU that fails.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import gin
import numpy as np
import torch
from torch import Tensor

from submission.configuration import methods, operative, reads_capacity, references
from submission.datasets import Dataset
from submission.errors import UserError
from submission.networks import VAE, NetworkShape
from submission.runs.folder import RunFolder
from submission.supervision import Supervisor
from submission.training import checkpoint
from submission.training.batches import Batches, load_resident
from submission.training.distributed import Group
from submission.training.execution import Execution, prepare_device
from submission.training.recipe import SECOND_BATCH, STREAMS, TRAINING, Pretraining, Recipe, Speed
from submission.training.step import Learner, new_model

CPU = torch.device("cpu")
Tell = Callable[[str], None]
"""Takes a line for the user."""

_SAMPLE_IMAGES = 1024
# Settings that pre-training doesn't read; of whatever else is added, it may.
_NOT_OF_PRETRAINING = {
    "trainer.objective",
    "trainer.max_steps",
    "trainer.discriminator",
    "trainer.discriminator_learning_rate",
    "trainer.discriminator_adam_betas",
    "trainer.discriminator_first",
    "trainer.constant_second_batch",
    "trainer.checkpoint_every",
    "trainer.log_every",
    "trainer.snapshot_every",
    "trainer.restarts",
    "speed.cpu_fallback",
}
_SPARE_WEIGHTS = ("trainer.budget", "trainer.restarts", "speed.cpu_fallback")


@dataclass(frozen=True)
class Request:
    """What one run is about.

    Attributes:
        name: The run's name.
        method: The method's name.
        preset: The preset's name.
        dataset: The images.
        folder: Where the run is written.
        pretrained: The folder of the shared, pre-trained weights.
        device: Where training happens.
        group: The processes that train together; rank 0 decides, writes and shows.
        supervisor: The process that starts this one again if it crashes.
        gpu_problem: Why the machine's GPU isn't the device; empty where it is, or there is none.
    """

    name: str
    method: str
    preset: str
    dataset: Dataset
    folder: RunFolder
    pretrained: Path
    device: torch.device
    group: Group = field(default_factory=Group)
    supervisor: Supervisor = field(default_factory=Supervisor)
    gpu_problem: str = ""


class Setup:
    """A request with its settings, as gin has them, and the makers of what a step needs.

    Args:
        request: What to train.

    Attributes:
        request: As given.
        recipe: The settings of the run.
        pretraining: Those of its pre-training.
        speed: What may make a step faster.
        sample: A fixed random sample of images, float32 `[1024, 64, 64, channels]` in [0, 1].
        identity: Equal for two runs if one may go on with the other's checkpoint.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.recipe, self.pretraining, self.speed = Recipe(), Pretraining(), Speed()
        request.group.share_of(self.recipe.batch_size)
        self.sample = _sample(request.dataset)
        self._mean_colour = self.sample.mean(axis=(0, 1, 2)).tolist()
        self._resident: Tensor | None = None
        self.identity = checkpoint.identity(
            method=request.method,
            dataset=request.dataset.fingerprint(),
            settings={k: v for k, v in _all_settings().items() if not _spares_weights(k)},
            layers=_layers(),
        )

    @property
    def shape(self) -> NetworkShape:
        """The networks' shape as gin says it; a plan may choose another width."""
        return NetworkShape(self.request.dataset.observation_shape[2])

    def leave_device(self, problem: str, warn: Tell) -> None:
        """Has training go on on the CPU.

        Args:
            problem: What is wrong with the device.
            warn: Takes a line on it.

        Raises:
            UserError: `speed.cpu_fallback` is False.
        """
        if not self.speed.cpu_fallback:
            raise UserError(
                f"the GPU can't be trained on ({problem}): use another one, or "
                "speed.cpu_fallback = True, which trains on the CPU then"
            )
        warn(f"the GPU can't be trained on ({problem}): training happens on the CPU")
        self.request = replace(self.request, device=CPU)
        self._resident = None
        prepare_device(on_gpu=False)

    def load_resident(self, warn: Tell) -> None:
        """Puts the data set into a GPU's memory, if it is wanted there, fits, and arrives whole.

        Args:
            warn: Takes a line where it doesn't.
        """
        request = self.request
        streamed = self.batches(TRAINING)
        try:
            self._resident = load_resident(request.dataset, request.device, self.speed.resident)
            arrived = self._resident is None or torch.equal(self.batches(TRAINING)(0), streamed(0))
            problem = None if arrived else "its batches are others than those from the disk"
        except (RuntimeError, MemoryError) as error:
            problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        if problem is not None:
            self._resident = None
            warn(f"the data set doesn't stay in the GPU's memory ({problem}): batches are copied")

    def stream_batches(self) -> bool:
        """Has the data set leave the GPU's memory; False if it isn't there."""
        was_resident = self._resident is not None
        self._resident = None
        return was_resident

    def learner(
        self,
        shape: NetworkShape,
        phase: str,
        execution: Execution,
        model: VAE | None = None,
        group: Group | None = None,
    ) -> Learner:
        """A learner with fresh optimisers, whose weights depend on the seed alone.

        Args:
            shape: The networks' shape.
            phase: Only training has a discriminator.
            execution: How its steps are computed.
            model: The VAE to go on with, whose device is the learner's; else a new one.
            group: The processes that train together; else the request's.
        """
        recipe = self.recipe
        if model is None:
            model = new_model(shape, recipe.seed, self.request.device, self._mean_colour)
        device = next(model.parameters()).device
        discriminator = None
        if phase == TRAINING and recipe.discriminator is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(recipe.seed)
                discriminator = recipe.discriminator(shape.latents).to(device)
        return Learner(
            model,
            seed=2 * recipe.seed + (phase == TRAINING),
            learning_rate=recipe.learning_rate,
            adam_betas=recipe.adam_betas,
            discriminator=discriminator,
            discriminator_learning_rate=recipe.discriminator_learning_rate,
            discriminator_adam_betas=recipe.discriminator_adam_betas,
            discriminator_first=recipe.discriminator_first,
            execution=execution,
            group=group or self.request.group,
        )

    def batches(self, stream: str, device: torch.device | None = None) -> Batches:
        """The batches of one of `STREAMS`, in an order of its own, on the run's device or another.

        Args:
            stream: One of `STREAMS`.
            device: Where they shall be, if not on the run's device.
        """
        return Batches(
            self.request.dataset,
            self.recipe.batch_size,
            self.recipe.seed,
            STREAMS[stream],
            device or self.request.device,
            resident=self._resident,
            group=self.request.group,
        )

    def second_batches(self) -> Callable[[int], Tensor]:
        """The discriminator's second batch of each step."""
        if not self.recipe.constant_second_batch:
            return self.batches(SECOND_BATCH)
        first = self.batches(TRAINING)(0)
        return lambda step: first

    def pretrained(self, shape: NetworkShape) -> Path:
        """The file of the pre-trained weights that all methods of these settings share.

        Args:
            shape: The networks' shape, whose width may have been measured.
        """
        identity = checkpoint.identity(
            dataset=self.request.dataset.fingerprint(),
            shape=shape,
            layers=_layers(),
            settings=pretraining_settings(),
        )
        return self.request.pretrained / f"{identity}.pt"


def pretraining_settings() -> dict[str, str]:
    """The settings, by name, that decide the pre-trained weights, up to rounding.

    All settings but those of training alone: the methods of a seed share the weights, since a
    method's own settings count only where pre-training reaches them, as by
    `pretraining.objective = @beta_vae`.
    """
    bound = _all_settings() | {f"trainer.{name}": repr(v) for name, v in vars(Recipe()).items()}
    unread = {"scoring", "discriminator", *methods()}
    if not reads_capacity(Pretraining().objective):
        unread.add("capacity")
    while True:
        read = {
            name: value
            for name, value in bound.items()
            if name not in _NOT_OF_PRETRAINING and name.split(".")[0] not in unread
        }
        reached = references(read.values()) & unread
        if not reached:
            return read
        unread -= reached


def _spares_weights(setting: str) -> bool:
    """Whether a killed run may go on with another value of the setting."""
    return setting in _SPARE_WEIGHTS or setting.startswith("scoring.")


def _layers() -> list[str]:
    """The names of the networks' tensors: weights of other networks can't be read into these.

    The identities hash them, so that a change of `submission/networks.py` starts anew instead of
    failing in `load_state_dict`. At width 0, which has the same layers, the networks cost nothing.
    """
    return list(VAE(NetworkShape(image_channels=1, width=0.0)).state_dict())


def _all_settings() -> dict[str, str]:
    return operative({selector.split(".")[-1] for (_, selector) in gin.config._CONFIG})


def _sample(dataset: Dataset) -> np.ndarray:
    """A fixed random sample of images, float32 `[1024, 64, 64, channels]` in [0, 1]."""
    generator = np.random.RandomState(0)
    indices = np.sort(generator.randint(len(dataset.images), size=_SAMPLE_IMAGES))
    return dataset.observe(indices, generator)
