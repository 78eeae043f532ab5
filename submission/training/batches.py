"""Mini-batches of images, drawn so that a resumed run sees the very ones it would have seen."""

import functools
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import gin
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from submission.datasets import Dataset
from submission.datasets.pixels import in_unit_range, tensor_in_unit_range
from submission.training.distributed import Group

# Of a GPU's free memory, the share that a data set may take up; the rest is for the networks.
_RESIDENT_SHARE = 0.5
# With one batch ahead, the thread would wait until a step takes it, and the step for the thread.
_BATCHES_AHEAD = 2


class Batches:
    """Batches of a data set in an order that depends only on the seed, the stream and the step.

    `epoch_order` says which images an epoch shows; the last, incomplete batch is left out. While a
    step computes, a thread gathers the images of the next ones. A data set that lies in a GPU's
    memory is gathered from there.

    Args:
        dataset: The images.
        batch_size: Images a batch, those of all processes.
        seed: The run's seed.
        stream: Tells apart independent orders of one run (phases, FactorVAE's second batch).
        device: Where the batches shall be.
        resident: The data set's images on the device, from `load_resident`.
        group: The processes that share every batch.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int,
        stream: int,
        device: torch.device,
        resident: Tensor | None = None,
        group: Group | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = min(batch_size, len(dataset.images))
        self.device = device
        self._team = group or Group()
        self._resident = resident
        self._seed = (seed, stream)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)
        self._thread = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="batches", initializer=_uses_this_gpu(device)
        )
        self._ahead: dict[int, Future[Tensor]] = {}

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch."""
        return len(self.dataset.images) // self.batch_size

    def __call__(self, step: int) -> Tensor:
        """This process's rows of a step's batch.

        Args:
            step: Its number.

        Returns:
            float32 `[rows, channels, 64, 64]` in [0, 1], channels last.
        """
        if self._resident is not None:
            rows = self._team.rows(self._batch(step))
            images = tensor_in_unit_range(self._resident[rows], self.dataset.white)
        else:
            images = self._gathered(step)
        # NHWC memory seen as NCHW is PyTorch's channels-last layout; nothing is copied.
        return images.permute(0, 3, 1, 2)

    def _gathered(self, step: int) -> Tensor:
        """float32 NHWC, on the device; those of the next steps are asked for."""
        if step not in self._ahead:
            self._ahead.clear()
        for wanted in range(step, step + 1 + _BATCHES_AHEAD):
            if wanted not in self._ahead:
                self._ahead[wanted] = self._thread.submit(self._gather, wanted)
        gathered = self._ahead.pop(step).result()
        images = gathered.to(self.device, non_blocking=True)
        if images.is_floating_point():
            return images
        return tensor_in_unit_range(images, self.dataset.white)

    def _gather(self, step: int) -> Tensor:
        """NHWC in memory; float32, or for a GPU pinned uint8, which is a quarter of the way."""
        batch = self._batch(step)
        on_gpu = self.device.type == "cuda"
        if self.dataset.paint is not None:
            entropy = np.random.SeedSequence([*self._seed, step]).generate_state(1)
            # Painted whole, so that the number of processes doesn't change what is drawn.
            painted = self.dataset.observe(batch.numpy(), np.random.RandomState(entropy))
            images = self._team.rows(torch.from_numpy(painted))
        else:
            # np.take is the faster of numpy's two ways.
            pixels = np.take(self.dataset.images, self._team.rows(batch).numpy(), axis=0)
            if not on_gpu:
                # In this thread, PyTorch would start as many others as the step already has.
                return torch.from_numpy(in_unit_range(pixels, self.dataset.white))
            images = torch.from_numpy(pixels)
        return images.pin_memory() if on_gpu else images

    def _batch(self, step: int) -> Tensor:
        """Indices of the images of all processes."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            order = torch.from_numpy(epoch_order(len(self.dataset.images), self._seed, epoch))
            # Beside the images, so that no step waits for a copy.
            self._order = order if self._resident is None else order.to(self._resident.device)
            self._epoch = epoch
        return self._order[position * self.batch_size : (position + 1) * self.batch_size]


@gin.configurable("epoch")
def epoch_order(
    count: int, seed: tuple[int, int], epoch: int, repeats: bool = False
) -> npt.NDArray[np.int64]:
    """The images of an epoch: all of them, in an order of its own.

    The authors' loader (`common/data_loader.py`) draws with replacement, from a generator that a
    worker process copies as each epoch begins: all epochs are one draw, which holds 63 % of the
    images. (Where it also draws traversals, each epoch begins four images later in that draw.)

    Args:
        count: Images.
        seed: The run's seed and the stream.
        epoch: Its number.
        repeats: Whether every epoch is one and the same draw with replacement.

    Returns:
        Indices `[count]`.
    """
    if repeats:
        return np.random.default_rng([*seed, 0]).integers(count, size=count)
    return np.random.default_rng([*seed, epoch]).permutation(count)


def _uses_this_gpu(device: torch.device) -> Callable[[], object] | None:
    """What has a new thread use this one's GPU.

    A thread starts with GPU 0, where pinning memory would open a context in every process.
    """
    if device.type != "cuda":
        return None
    return functools.partial(torch.cuda.set_device, torch.cuda.current_device())


def load_resident(dataset: Dataset, device: torch.device, wanted: bool) -> Tensor | None:
    """A data set's uint8 images `[count, 64, 64, channels]` in a GPU's memory.

    Args:
        dataset: The images.
        device: Where training happens.
        wanted: Whether they are wanted there (`speed.resident`).

    Returns:
        None where they aren't wanted, or of no use (on the CPU, or when they are painted anew each
        time), or don't fit.
    """
    if not wanted or device.type != "cuda" or dataset.paint is not None:
        return None
    free, _ = torch.cuda.mem_get_info(device)
    if dataset.images.nbytes > _RESIDENT_SHARE * free:
        return None
    with warnings.catch_warnings():
        # The map of the file is for reading only, and no more is done with it.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(dataset.images)).to(device)
