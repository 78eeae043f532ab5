"""What a run goes on with where its form of a step fails: less that is special, in less memory."""

import traceback
from dataclasses import replace
from typing import Any

from submission.errors import UserError
from submission.training.checks import (
    FormError,
    check_form,
    free_memory,
    fresh_learner,
    out_of_memory,
    told,
)
from submission.training.execution import Execution, next_form, on_device
from submission.training.setup import Setup, Tell
from submission.training.state import State

FIRST_STEPS = 3
"""Of a phase or a resumed run: with CUDA graphs the second records them, the third replays them."""

_SECONDS_TO_COMPILE = 120.0
"""Of the budget, below which nothing is compiled any more."""


def check_resumed(setup: Setup, state: State, left: float, warn: Tell) -> None:
    """Has a run that was killed go on in another form where its own doesn't work any more.

    Args:
        setup: The run.
        state: Its state.
        left: Seconds of the budget, the same in all processes.
        warn: Takes a line on it.

    Raises:
        Exception: What a form raises in one of several processes.
    """
    form = state.plan.execution
    if form.compiled and left < _SECONDS_TO_COMPILE:
        form = replace(form, compiled=False, cuda_graphs=False)
    while form != Execution():
        try:
            check_form(setup, fresh_learner(setup, state.plan.shape, form))
            break
        except UserError:
            raise
        except Exception as error:
            if setup.request.group.world_size > 1 and not isinstance(error, FormError):
                raise
            warn(f"{form}: not to be had ({told(error)})")
        free_memory()
        form = next_form(form) or Execution()
    if form != state.plan.execution:
        state.take_form(setup, form, state.learner.state_dict())


def step_back(
    setup: Setup, state: State, before: dict[str, Any], error: Exception, warn: Tell
) -> bool:
    """Undoes a step that failed, to try it in less memory, in another form or on the CPU.

    Args:
        setup: The run, whose data set may leave the GPU's memory.
        state: Its state, which gets a learner as it was before the step.
        before: That one's `state_dict`.
        error: How the step failed.
        warn: Takes a line on it.

    Returns:
        Whether there is something to try: not where the failure is neither memory's nor a
        compiler's, nothing is left, or processes train together, which can't agree on it.

    Raises:
        UserError: Only the CPU is left, and `speed.cpu_fallback` is False.
    """
    form = state.plan.execution
    full = out_of_memory(error)
    if setup.request.group.world_size > 1 or not (full or form.compiled):
        return False
    further = next_form(form)
    on_cpu = setup.request.device.type == "cpu"
    if on_cpu and further is None:
        return False
    # The step's own tensors, which the exception still refers to.
    traceback.clear_frames(error.__traceback__)
    free_memory()
    problem = told(error)
    if full and setup.stream_batches():
        warn(f"{problem}: the data set leaves the GPU's, and batches are copied")
    elif further is not None:
        warn(f"{form}: not to be had in a step ({problem}); goes on with: {further}")
        form = further
    else:
        setup.leave_device(problem, warn)
        form = on_device(form, on_gpu=False)
    state.take_form(setup, form, before)
    return True
