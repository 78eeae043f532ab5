"""Whether a form of a step computes what the plain one does, and a GPU what the CPU does.

Loss and gradient of one batch are compared, of fresh networks with the same noise. The images are
drawn and dark, and the networks begin at mid-grey: there each weight's gradient is a sum that
rounding hardly changes, whatever the data set. With a data set's own mean colour it is a small
difference of large sums, of which bfloat16 leaves nothing in some layers.
"""

import contextlib
import errno
import functools
import gc
import os
import sys
from dataclasses import dataclass

import torch
from torch import Tensor

from submission import objectives
from submission.errors import no_room
from submission.networks import NetworkShape
from submission.objectives import Objective
from submission.training.distributed import Group
from submission.training.execution import Execution
from submission.training.recipe import TRAINING
from submission.training.setup import CPU, Setup, Tell
from submission.training.step import Learner, new_model

# A CPU computes these in a tenth of a second, a GPU's batch in seconds.
_FEW_IMAGES = 8
# CUDA graphs: the first pass is computed as ever, the second recorded, the third replayed.
_PASSES = {False: 1, True: 3}
# Of the whole gradient; what is smaller is not a weight's gradient but rounding.
_SMALLEST_SHARE = 1e-6
# What PyTorch says where none of cuDNN's kernels for a convolution found memory, and, alike, where
# there is none for this card.
_NO_KERNEL = "unable to find an engine"
# How a GPU's libraries and PyTorch's allocator for the CPU say it, beside `OutOfMemoryError`.
_OUT_OF_MEMORY = ("out of memory", "ALLOC_FAILED", "DefaultCPUAllocator", _NO_KERNEL)


class FormError(Exception):
    """A form of a step, or a device, doesn't compute what the plain one, or the CPU, does."""


@dataclass(frozen=True)
class Tolerance:
    """The largest errors that rounding may explain.

    Attributes:
        loss: Of the loss, relative to it or to the reconstruction if that is larger.
        gradient: Of the gradient of any of the VAE's weights, a tensor each: the norm of the
            difference, relative to the norm.
    """

    loss: float
    gradient: float


def tolerance(execution: Execution) -> Tolerance:
    """How far a form may be from the plain one; docs/training.md has the errors measured."""
    if execution.bfloat16:
        return Tolerance(loss=1e-2, gradient=0.9)
    if execution.tf32:
        return Tolerance(loss=1e-3, gradient=0.5)
    return Tolerance(loss=1e-4, gradient=0.05)


@dataclass(frozen=True)
class Gradient:
    """What one pass gives.

    Attributes:
        loss: The loss.
        scale: What an error of the loss is relative to.
        by_weight: The gradients of the VAE's weights, on their device.
    """

    loss: float
    scale: float
    by_weight: list[Tensor]


def first_gradient(
    learner: Learner, objective: Objective, images: Tensor, seed: int = 0
) -> Gradient:
    """Loss and gradient of a batch; changes no state but the parameters' `grad`.

    Args:
        learner: Fresh, and alone in its group.
        objective: The loss.
        images: `[batch, channels, 64, 64]` in [0, 1], on the learner's device.
        seed: Of the global generators, which an objective of one's own may draw with.
    """
    own, learner.generator = learner.generator, torch.Generator()
    try:
        with torch.random.fork_rng(devices=[]):
            for _ in range(_PASSES[learner.execution.cuda_graphs]):
                learner.generator.manual_seed(0)
                torch.manual_seed(seed)
                size = (len(images), learner.model.shape.latents)
                noise = torch.randn(size, generator=learner.generator).to(images.device)
                terms, _ = learner.backpropagate(objective, images, noise)
    finally:
        learner.generator = own
    loss = float(terms["loss"].detach())
    parameters = learner.model.parameters()
    return Gradient(
        loss=loss,
        scale=max(abs(loss), abs(float(terms["reconstruction"].detach()))),
        by_weight=[p.grad for p in parameters if p.grad is not None],
    )


def errors(found: Gradient, expected: Gradient) -> tuple[float, float]:
    """The errors that a `Tolerance` limits, of loss and gradient."""

    def norms(tensors: list[Tensor]) -> Tensor:
        return torch.stack([torch.linalg.vector_norm(t, dtype=torch.float64) for t in tensors])

    pairs = zip(found.by_weight, expected.by_weight, strict=True)
    size = norms(expected.by_weight)
    smallest = (_SMALLEST_SHARE * size.norm()).clamp_min(sys.float_info.min)
    error = norms([one.to(other.device) - other for one, other in pairs]) / size.clamp_min(smallest)
    scale = max(expected.scale, sys.float_info.min)
    return abs(found.loss - expected.loss) / scale, float(error.max())


def compare(found: Gradient, expected: Gradient, allowed: Tolerance, of: str) -> None:
    """Holds a gradient against the one that it should be.

    Args:
        found: The one in question.
        expected: The other; where it isn't finite itself, it tells nothing.
        allowed: What rounding may explain.
        of: Whose the other one is.

    Raises:
        FormError: They differ by more.
    """
    finite = (one.isfinite().all() for one in expected.by_weight)
    if expected.scale == float("inf") or expected.loss != expected.loss or not all(finite):
        return
    limits = (allowed.loss, allowed.gradient)
    for name, error, most in zip(
        ("loss", "gradient"), errors(found, expected), limits, strict=True
    ):
        if error != error or error == float("inf"):
            raise FormError(f"its {name} isn't finite")
        if error > most:
            raise FormError(f"its {name} is {error:.2g} off {of}, where {most:g} may be rounding")


def check_form(setup: Setup, learner: Learner) -> None:
    """Checks that a form computes what the plain form does on the same device.

    Processes that train together check it each on its own device, and agree.

    Args:
        setup: The run.
        learner: A fresh one of `fresh_learner`.

    Raises:
        FormError: It doesn't.
        Exception: Whatever the form raises.
    """
    form, shape, group = learner.execution, learner.model.shape, setup.request.group
    # What others are held against; on a GPU, `check_device` holds it against the CPU.
    if form == Execution():
        return
    problem = None
    try:
        rows = group.share_of(min(setup.recipe.batch_size, len(setup.request.dataset.images)))
        # A compiler would do its work again for another number of images.
        if learner.device.type == "cpu" and not form.compiled:
            rows = min(rows, _FEW_IMAGES)
        images = drawn_images(max(rows, 2), shape, learner.device)
        objective = _comparable(setup, shape) if form.compiled else setup.recipe.objective
        plain = fresh_learner(setup, shape, Execution(), alone=True)
        try:
            expected = first_gradient(plain, objective, images)
        except Exception as error:
            if not out_of_memory(error):
                raise
            # A batch may fit into the memory in bfloat16 alone.
            images = images[:_FEW_IMAGES]
            expected = first_gradient(plain, objective, images)
        if group.world_size > 1:
            learner = fresh_learner(setup, shape, form, alone=True)
        found = first_gradient(learner, objective, images)
        compare(found, expected, tolerance(form), "the plain form's")
    except Exception as error:
        if group.world_size == 1:
            raise
        problem = told(error)
    problem = group.first(problem)
    if problem is not None:
        raise FormError(problem)


def check_device(setup: Setup, warn: Tell) -> None:
    """Has training leave a GPU on which the plain form doesn't compute what it does on the CPU.

    Args:
        setup: The run, whose device may change.
        warn: Takes a line on it.

    Raises:
        UserError: It doesn't, and `speed.cpu_fallback` is False.
    """
    device = setup.request.device
    if device.type == "cpu":
        return
    problem = setup.request.group.first(device_problem(setup, device))
    if problem is not None:
        free_memory()
        setup.leave_device(problem, warn)


def device_problem(setup: Setup, device: torch.device) -> str | None:
    """What keeps a device from training, in one line; None if it does what the CPU does.

    Raises:
        Exception: What the objective raises on the CPU.
    """
    shape = setup.shape
    objective = _comparable(setup, shape)
    images = drawn_images(_FEW_IMAGES, shape, CPU)
    plain = functools.partial(fresh_learner, setup, shape, Execution(), alone=True)
    expected = first_gradient(plain(CPU), objective, images)
    try:
        found = first_gradient(plain(device), objective, images.to(device))
        compare(found, expected, tolerance(Execution()), "the CPU's")
        there, here = (setup.batches(TRAINING, each)(0).cpu() for each in (device, CPU))
        if not torch.allclose(there, here, rtol=0, atol=1e-6):
            raise FormError("its batches aren't the CPU's")
    except Exception as error:
        return told(error)
    return None


def fresh_learner(
    setup: Setup,
    shape: NetworkShape,
    execution: Execution,
    device: torch.device | None = None,
    alone: bool = False,
) -> Learner:
    """A learner that is thrown away, whose networks begin at mid-grey.

    Args:
        setup: The run.
        shape: The networks' shape.
        execution: How its steps are computed.
        device: Where; else on the run's.
        alone: Whether it has nothing to do with the processes that train together.
    """
    model = new_model(shape, setup.recipe.seed, device or setup.request.device)
    group = Group() if alone else None
    return setup.learner(shape, TRAINING, execution, model, group=group)


def out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, a GPU's or the machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    known = isinstance(error, RuntimeError | FormError)
    return known and any(words in str(error) for words in _OUT_OF_MEMORY)


def told(error: Exception) -> str:
    """An exception in one line."""
    text = str(error).strip() or "no reason given"
    if out_of_memory(error) and _NO_KERNEL not in text:
        return "out of memory"
    # A compiler's own words for it stand deep in its output, without the folder: TMPDIR.
    line = no_room(None) if os.strerror(errno.ENOSPC) in text else text.splitlines()[0]
    return line if isinstance(error, FormError) else f"{type(error).__name__}: {line}"


def free_memory() -> None:
    """Frees what learners held that nothing refers to any more."""
    gc.collect()
    # A GPU that has failed can't be asked for anything.
    with contextlib.suppress(RuntimeError):
        if "torch._dynamo" in sys.modules:
            torch._dynamo.reset()
        torch.cuda.empty_cache()


def drawn_images(count: int, shape: NetworkShape, device: torch.device) -> Tensor:
    """Uniform noise in [0, 0.5], `[count, channels, 64, 64]`, channels last as batches are."""
    generator = torch.Generator().manual_seed(0)
    images = 0.5 * torch.rand((count, shape.image_channels, 64, 64), generator=generator)
    # Of a single channel, `contiguous()` leaves strides as they are, and what is compiled for these
    # is compiled anew for a batch's.
    channels_last = torch.empty((count, 64, 64, shape.image_channels))
    return channels_last.copy_(images.permute(0, 2, 3, 1)).to(device).permute(0, 3, 1, 2)


def _comparable(setup: Setup, shape: NetworkShape) -> Objective:
    """The method's objective; the VAE's if it draws numbers, which differ on another device."""
    images = drawn_images(2, shape, CPU)
    learner = fresh_learner(setup, shape, Execution(), CPU, alone=True)
    own = setup.recipe.objective
    first, second = (first_gradient(learner, own, images, seed).loss for seed in range(2))
    return own if first == second or first != first else objectives.vae
