"""Models that a program holds, instead of a file: scored as what a file holds is."""

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator, Sized
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from evaluator.ground_truth import GroundTruth
from evaluator.representations import Representation, check
from evaluator.worker.readers import Reading, as_array, encode_images, encode_pixels
from submission.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Call:
    """How a model wants to be called.

    Attributes:
        layout: Of the images: `NCHW` or `NHWC`.
        dtype: The name of their number type; None is that of a module's weights, else float32.
        output: Which part of its answer is the codes, an index or a key; None is all of it.
    """

    layout: str = "NCHW"
    dtype: str | None = None
    output: int | str | None = None

    def __post_init__(self) -> None:
        """Refuses what no model wants."""
        if self.layout not in ("NCHW", "NHWC"):
            raise UserError(f"layout is {self.layout!r}: images are NCHW or NHWC")
        if self.dtype not in (None, "float16", "bfloat16", "float32", "float64"):
            raise UserError(
                f"dtype is {self.dtype!r}: give float16, bfloat16, float32 or float64, by name"
            )

    def codes_in(self, answer: Any) -> Any:
        """The part of an answer that is the codes."""
        if self.output is None:
            return answer
        try:
            return answer[self.output]
        except (KeyError, IndexError, TypeError) as error:
            parts = ""
            if isinstance(answer, Sized):
                parts = (
                    f" of {sorted(map(str, answer)) if isinstance(answer, dict) else len(answer)}"
                )
            raise UserError(
                f"output is {self.output!r}, and the model returns a {type(answer).__name__}{parts}"
            ) from error


def of_module(
    module: "torch.nn.Module", ground_truth: GroundTruth, call: Call | None = None
) -> Representation:
    """An `nn.Module`, on the device and in the mode that it is in.

    Args:
        module: From images in [0, 1] to codes [n, latents].
        ground_truth: The data set; a few of its images are encoded.
        call: How it is called.

    Returns:
        The representation; messages call it by the module's class.

    Raises:
        UserError: It refuses the images, or returns anything but finite numbers [n, latents].
    """
    import torch

    call = call or Call()
    path = Path(type(module).__name__)
    values = [value for value in module.parameters() if value.is_floating_point()]
    device = str(_device_of(module) or "cpu")
    dtypes = {value.dtype for value in values}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    if call.dtype is not None:
        dtype = getattr(torch, call.dtype)

    def encode(images: torch.Tensor) -> Any:
        return call.codes_in(
            module(images if call.layout == "NCHW" else images.permute(0, 2, 3, 1).contiguous())
        )

    reading = Reading(
        _apart(encode_images(path, encode, device, dtype)),
        _apart(encode_pixels(path, encode, device, dtype)),
    )
    return check(reading, path, ground_truth, in_memory=True)


def of_function(
    function: Callable[[Any], Any], ground_truth: GroundTruth, call: Call | None = None
) -> Representation:
    """A function of images in [0, 1] that returns codes [n, latents].

    Args:
        function: It is given a numpy array; if it raises an error, a PyTorch tensor on the CPU.
        ground_truth: The data set; a few of its images are encoded.
        call: How it is called.

    Returns:
        The representation; messages call it by the function's name.

    Raises:
        UserError: As for a module.
    """
    call = call or Call()
    if call.dtype == "bfloat16":
        raise UserError("dtype is 'bfloat16', which numpy's arrays have not: score a module")

    def of_tensor(images: np.ndarray) -> Any:
        import torch

        with torch.no_grad():
            return function(torch.from_numpy(images))

    ways: list[Callable[[np.ndarray], Any]] = [function]
    if importlib.util.find_spec("torch") is not None:
        ways.append(of_tensor)

    def encode(batch: np.ndarray) -> np.ndarray:
        laid_out = np.moveaxis(batch, 3, 1) if call.layout == "NCHW" else batch
        images = np.array(laid_out, call.dtype or np.float32, order="C")
        if len(ways) > 1:
            # The first batch decides which of the two it takes.
            try:
                function(images.copy())
                del ways[1]
            except Exception:
                del ways[0]
        codes = call.codes_in(ways[0](images))
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(codes, torch.Tensor):
            codes = as_array(codes)
        array = np.asarray(codes)
        if array.dtype == object:
            raise UserError(
                f"{path} returns a {type(codes).__name__}, not numbers [n, latents]; `output` "
                "chooses a part of a tuple or a dictionary"
            )
        return array

    path = Path(getattr(function, "__name__", type(function).__name__))
    return check(Reading(_apart(encode)), path, ground_truth, in_memory=True)


@contextmanager
def on_device(module: "torch.nn.Module", device: str | None) -> Iterator[None]:
    """A module on another device, and at the end on its own."""
    if device is None:
        yield
        return
    before = _device_of(module)
    if before is None:
        raise UserError(f"device is {device!r}, and the module holds nothing to be moved there")
    try:
        module.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device is {device!r}: {str(error).splitlines()[0]}") from error
    try:
        yield
    finally:
        module.to(before)


def _device_of(module: "torch.nn.Module") -> "torch.device | None":
    """Where what it holds is; None where it holds nothing."""
    held = next(itertools.chain(module.parameters(), module.buffers()), None)
    return None if held is None else held.device


@contextmanager
def in_eval_mode(module: "torch.nn.Module") -> Iterator[None]:
    """Each part of a module gets its own mode back at the end."""
    # Frozen TorchScript has lost its mode.
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def without_autocast() -> Iterator[None]:
    """A module computes in its own number type, though training stands in `torch.autocast`."""
    import torch

    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


@contextmanager
def repeatable_kernels() -> Iterator[None]:
    """Float32 as it is and no kernels chosen by timing; at the end all is set as it was.

    PyTorch has older switches and, since 2.9, one for each operator. What was set by one kind can
    refuse to be read, or stay unheeded, by the other, so both are set and both are put back.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    cudnn = torch.backends.cudnn
    operators = [one for one in _float32_operators() if hasattr(one, "fp32_precision")]
    kernels = cudnn.deterministic, cudnn.benchmark
    tf32 = precision = None
    with suppress(RuntimeError):
        tf32 = cudnn.allow_tf32
    with suppress(RuntimeError):
        precision = torch.get_float32_matmul_precision()
    of_operators = [one.fp32_precision for one in operators]
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32 = True, False, False
    torch.set_float32_matmul_precision("highest")
    for one in operators:
        one.fp32_precision = "ieee"
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = kernels
        if tf32 is not None:
            cudnn.allow_tf32 = tf32
        if precision is not None:
            torch.set_float32_matmul_precision(precision)
        for one, before in zip(operators, of_operators, strict=True):
            one.fp32_precision = before


def _float32_operators() -> list[Any]:
    from torch.backends import cuda, cudnn, mkldnn

    return [
        *(getattr(cudnn, name, None) for name in ("conv", "rnn")),
        cuda.matmul,
        *(getattr(mkldnn, name, None) for name in ("matmul", "conv", "rnn")),
    ]


def _apart(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """Shares no memory with a model: it may change its input, or give the same array again."""

    def call(images: np.ndarray, *rest: int) -> np.ndarray:
        return function(images.copy(), *rest).copy()

    return call
