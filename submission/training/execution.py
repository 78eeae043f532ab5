"""How a step is computed: forms of the same mathematics, and the choice between them."""

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf

import torch

from submission.budget import parse_duration
from submission.training.recipe import Speed

# Of an execution that is slower by less than this, a measurement of a few steps can't tell.
_MARGIN = 0.02
# glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Execution:
    """One way to compute a step.

    Attributes:
        phases: The decoder's last layers in polyphase form (`submission.polyphase`).
        compiled: By `torch.compile`.
        cuda_graphs: Compiled with `mode="reduce-overhead"`, which replays CUDA graphs.
        bfloat16: The networks under autocast to bfloat16, the losses in float32.
        tf32: On a GPU, matrix products and convolutions of float32 with TF32's 10 bits of mantissa.
    """

    phases: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    bfloat16: bool = False
    tf32: bool = False

    def __str__(self) -> str:
        """A few words for the log."""
        words = ["decoder in phases" if self.phases else "plain decoder"]
        if self.compiled:
            words.append("compiled with CUDA graphs" if self.cuda_graphs else "compiled")
        if self.bfloat16:
            words.append("bfloat16")
        if self.tf32:
            words.append("TF32")
        return ", ".join(words)


def plain_executions(speed: Speed, on_gpu: bool) -> list[Execution]:
    """The forms that need no compiler, those that are likely to be faster first."""
    decoders = (True, False) if speed.phases else (False,)
    tf32 = speed.tf32 and on_gpu
    return [Execution(phases, bfloat16=speed.bfloat16, tf32=tf32) for phases in decoders]


def next_form(execution: Execution) -> Execution | None:
    """What to try where a form doesn't work: less that is special, in less memory.

    Example:
        >>> str(next_form(Execution(phases=True, compiled=True, cuda_graphs=True)))
        'decoder in phases, compiled'
    """
    for name in ("cuda_graphs", "compiled", "phases"):
        if getattr(execution, name):
            return replace(execution, **{name: False})
    return None if execution == Execution() else Execution()


def on_device(execution: Execution, on_gpu: bool) -> Execution:
    """The same form as far as a device has it."""
    return execution if on_gpu else replace(execution, cuda_graphs=False, tf32=False)


def compiled_execution(
    execution: Execution, speed: Speed, budget_seconds: float, on_gpu: bool
) -> Execution | None:
    """`torch.compile` on top; None if that is not wanted or takes too much of the budget.

    Args:
        execution: One of `plain_executions`.
        speed: What may be used.
        budget_seconds: The whole budget.
        on_gpu: Whether training happens on a GPU.
    """
    worth_it = budget_seconds >= parse_duration(speed.compile_from, "speed.compile_from")
    if not speed.compile or not worth_it:
        return None
    return replace(execution, compiled=True, cuda_graphs=speed.cuda_graphs and on_gpu)


def fastest(seconds: Mapping[Execution, float]) -> tuple[Execution, str]:
    """The execution with the shortest step; of two that can't be told apart, the first.

    Args:
        seconds: What a step takes, in the order of preference; infinite where it doesn't work.

    Returns:
        One of them, and a sentence on what was measured.
    """
    longest = (1 + _MARGIN) * min(seconds.values())
    chosen = next(execution for execution, taken in seconds.items() if taken <= longest)
    measured = [f"{form}: {taken:.4f} s a step" for form, taken in seconds.items() if taken < inf]
    return chosen, f"{'; '.join(measured)}; chosen: {chosen}"


def prepare_device(on_gpu: bool, measure: bool = True) -> None:
    """Sets what holds for the whole process: its memory, or how convolutions are chosen.

    To be called before the first tensor is made.

    Args:
        on_gpu: Whether training happens on a GPU.
        measure: Whether cuDNN takes its fastest kernels by measuring; else the same ones always.
    """
    if on_gpu:
        torch.backends.cudnn.benchmark = measure
        torch.backends.cudnn.deterministic = not measure
    else:
        _keep_freed_memory()
        _use_huge_pages()


def use_tf32(wanted: bool) -> None:
    """Sets whether the process's matrix products and convolutions on a GPU are TF32's."""
    torch.set_float32_matmul_precision("high" if wanted else "highest")
    torch.backends.cudnn.allow_tf32 = wanted


def _keep_freed_memory() -> None:
    """Has glibc keep what a step frees for the next one.

    By default it hands blocks of many megabytes back to the kernel at once, which clears every page
    again when the next step asks for them: 40% of a step of the paper's networks.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def _use_huge_pages() -> None:
    """Has PyTorch ask the kernel for pages of 2 MB, which spare a step on a Xeon 8% of its time.

    PyTorch looks for the variable once, when the process makes its first tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
