"""How a step is computed: forms of the same mathematics, and the choice between them."""

import ctypes
import errno
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from submission.budget import parse_duration
from submission.errors import no_room
from submission.training.recipe import Speed

# Of a execution that is slower by less than this, a measurement of a few steps can't tell.
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
    """

    phases: bool = False
    compiled: bool = False
    cuda_graphs: bool = False
    bfloat16: bool = False

    def __str__(self) -> str:
        """A few words for the log."""
        words = ["decoder in phases" if self.phases else "plain decoder"]
        if self.compiled:
            words.append("compiled with CUDA graphs" if self.cuda_graphs else "compiled")
        if self.bfloat16:
            words.append("bfloat16")
        return ", ".join(words)


def plain_executions(speed: Speed) -> list[Execution]:
    """The forms that need no compiler, those that are likely to be faster first."""
    decoders = (True, False) if speed.phases else (False,)
    return [Execution(phases, bfloat16=speed.bfloat16) for phases in decoders]


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


def fastest(
    candidates: Sequence[Execution], measure: Callable[[Execution], float]
) -> tuple[Execution, str]:
    """The execution with the shortest step; of two that can't be told apart, the first.

    Args:
        candidates: In the order of preference. Only the first has to work: no compiler on this
            machine must not end an 8-hour run.
        measure: Seconds a step takes.

    Returns:
        One of the candidates, and a sentence on what was measured.
    """
    seconds, sentences = {}, []
    for execution in candidates:
        try:
            seconds[execution] = measure(execution)
            sentences.append(f"{execution}: {seconds[execution]:.4f} s a step")
        except Exception as error:
            if execution == candidates[0]:
                raise
            sentences.append(f"{execution}: not to be had ({type(error).__name__}: {_line(error)})")
    longest = (1 + _MARGIN) * min(seconds.values())
    chosen = next(
        execution for execution in candidates if seconds.get(execution, math.inf) <= longest
    )
    return chosen, f"{'; '.join(sentences)}; chosen: {chosen}"


def prepare_device(speed: Speed, on_gpu: bool) -> None:
    """Sets what holds for the whole process: its memory, TF32, measured convolutions.

    To be called before the first tensor is made.
    """
    if on_gpu:
        torch.set_float32_matmul_precision("high" if speed.tf32 else "highest")
        torch.backends.cudnn.allow_tf32 = speed.tf32
        torch.backends.cudnn.benchmark = True
    else:
        _keep_freed_memory()
        _use_huge_pages()


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


def _line(error: Exception) -> str:
    text = str(error).strip() or "no reason given"
    # A compiler's own words for it stand deep in its output, without the folder: TMPDIR.
    return no_room(None) if os.strerror(errno.ENOSPC) in text else text.splitlines()[0]
