"""How a step is computed: forms of the same mathematics, and the choice between them."""

import ctypes
import errno
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import gin
import torch

from submission.budget import Duration, parse_duration
from submission.errors import no_room
from submission.values import Needs

# Of a form that is slower by less than this, a measurement of a few steps can't tell.
_MARGIN = 0.02
# glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


@dataclass(frozen=True)
class Form:
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
        measure: Take the fastest form of a few measured steps; else the first one, unmeasured, so
            that two runs with a seed are equal to the last bit on a busy machine too.
    """

    phases: bool = True
    compile: bool = True
    compile_from: Annotated[str, Duration(), Needs("speed.compile")] = "1h"
    cuda_graphs: Annotated[bool, Needs("speed.compile")] = True
    tf32: bool = True
    bfloat16: bool = False
    resident: bool = True
    measure: bool = True


def plain_forms(speed: Speed) -> list[Form]:
    """The forms that need no compiler, those that are likely to be faster first."""
    decoders = (True, False) if speed.phases else (False,)
    return [Form(phases, bfloat16=speed.bfloat16) for phases in decoders]


def compiled_form(form: Form, speed: Speed, budget_seconds: float, on_gpu: bool) -> Form | None:
    """The form under `torch.compile`; None if that is not wanted or takes too much of the budget.

    Args:
        form: One of `plain_forms`.
        speed: What may be used.
        budget_seconds: The whole budget.
        on_gpu: Whether training happens on a GPU.
    """
    worth_it = budget_seconds >= parse_duration(speed.compile_from, "speed.compile_from")
    if not speed.compile or not worth_it:
        return None
    return replace(form, compiled=True, cuda_graphs=speed.cuda_graphs and on_gpu)


def fastest(candidates: Sequence[Form], measure: Callable[[Form], float]) -> tuple[Form, str]:
    """The form with the shortest step; of two that can't be told apart, the first.

    Args:
        candidates: In the order of preference. Only the first has to work: no compiler on this
            machine must not end an 8-hour run.
        measure: Seconds a step takes.

    Returns:
        One of the candidates, and a sentence on what was measured.
    """
    seconds, sentences = {}, []
    for form in candidates:
        try:
            seconds[form] = measure(form)
            sentences.append(f"{form}: {seconds[form]:.4f} s a step")
        except Exception as error:
            if form == candidates[0]:
                raise
            sentences.append(f"{form}: not to be had ({type(error).__name__}: {_line(error)})")
    longest = (1 + _MARGIN) * min(seconds.values())
    chosen = next(form for form in candidates if seconds.get(form, math.inf) <= longest)
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
