"""Models that a program holds, instead of a file: scored as what a file holds is."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.ground_truth import GroundTruth
from evaluator.representations import Representation, check
from evaluator.worker.readers import Reading, encode_images, encode_pixels, make_repeatable

if TYPE_CHECKING:
    import torch


def of_module(module: "torch.nn.Module", ground_truth: GroundTruth) -> Representation:
    """An `nn.Module`, on the device and in the mode that it is in.

    Args:
        module: From images [n, c, h, w] in [0, 1] to codes [n, latents].
        ground_truth: The data set; a few of its images are encoded.

    Returns:
        The representation; messages call it by the module's class.

    Raises:
        UserError: It refuses the images, or returns anything but finite numbers [n, latents].
    """
    import torch

    path = Path(type(module).__name__)
    values = [value for value in module.parameters() if value.is_floating_point()]
    device = str(values[0].device) if values else "cpu"
    dtypes = {value.dtype for value in values}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    reading = Reading(
        _apart(encode_images(path, module, device, dtype)),
        _apart(encode_pixels(path, module, device, dtype)),
    )
    return check(reading, path, ground_truth, in_memory=True)


def of_function(function: Callable[[Any], Any], ground_truth: GroundTruth) -> Representation:
    """A function of float32 images [n, c, h, w] in [0, 1] that returns codes [n, latents].

    Args:
        function: It is given a numpy array; if it raises an error, a PyTorch tensor on the CPU.
        ground_truth: The data set; a few of its images are encoded.

    Returns:
        The representation; messages call it by the function's name.

    Raises:
        UserError: As for a module.
    """

    def of_tensor(images: np.ndarray) -> Any:
        import torch

        with torch.no_grad():
            return function(torch.from_numpy(images))

    ways: list[Callable[[np.ndarray], Any]] = [function]
    if importlib.util.find_spec("torch") is not None:
        ways.append(of_tensor)

    def encode(batch: np.ndarray) -> np.ndarray:
        images = np.array(np.moveaxis(batch, 3, 1), np.float32, order="C")
        if len(ways) > 1:
            # The first batch decides which of the two it takes.
            try:
                function(images.copy())
                del ways[1]
            except Exception:
                del ways[0]
        codes = ways[0](images)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(codes, torch.Tensor):
            codes = codes.cpu().numpy()
        return np.asarray(codes)

    path = Path(getattr(function, "__name__", type(function).__name__))
    return check(Reading(_apart(encode)), path, ground_truth, in_memory=True)


@contextmanager
def in_eval_mode(module: "torch.nn.Module") -> Iterator[None]:
    """Each part of a module gets its own mode back at the end."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def repeatable_kernels() -> Iterator[None]:
    """PyTorch's settings as a representation's file gets them, and at the end as they were."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic
    make_repeatable()
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.deterministic = before


def _apart(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Shares no memory with a model: it may change its input, or give the same array again."""

    def call(images: np.ndarray, *rest: int) -> np.ndarray:
        return function(images.copy(), *rest).copy()

    return call
