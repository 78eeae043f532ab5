"""What a run makes of its budget: the networks' width, the execution of a step, the steps."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from submission.budget import Budget, affordable_steps, choose_width
from submission.networks import NetworkShape
from submission.training.execution import (
    Execution,
    compiled_execution,
    fastest,
    plain_executions,
)
from submission.training.recipe import TRAINING
from submission.training.setup import Setup

_MEASURED_STEPS = 2
# The first steps also allocate and choose kernels; torch.compile's compile and record CUDA graphs.
_WARM_UP_STEPS = {False: 1, True: 3}

# The share of a newly measured time in the running mean of the seconds a step takes.
_NEW_SHARE = 0.1


@dataclass(frozen=True)
class Plan:
    """What is decided by measuring, and decided anew as training goes on.

    Attributes:
        shape: The networks' shape.
        execution: How a step is computed.
        seconds_per_step: Of the method's step, wall clock.
        pretraining_ends: The second of the budget at which pre-training ends.
        steps: Steps of the present phase that its time affords.
    """

    shape: NetworkShape
    execution: Execution
    seconds_per_step: float = 0.0
    pretraining_ends: float = 0.0
    steps: int = 0


def choose(setup: Setup, budget: Budget, note: Callable[[str], None]) -> Plan:
    """Fixes width and execution by measuring, as far as gin lets it, and plans the pre-training.

    The width comes first, measured with the likeliest execution, since it changes the time of a
    step by factors and the execution by per cents; `torch.compile`, which takes half a minute, is
    tried last and only on the network that will be trained.

    Args:
        setup: The run; its processes measure together and take rank 0's numbers.
        budget: The run's.
        note: Takes a line on what was measured and chosen.
    """
    group, speed = setup.request.group, setup.speed
    candidates = plain_executions(speed)
    execution = candidates[0]

    def seconds_left() -> float:
        return group.broadcast(budget.left)

    @functools.cache
    def measure(width: float, execution: Execution) -> float:
        return group.broadcast(_seconds_per_step(setup, width, execution))

    width = choose_width(lambda width: measure(width, execution), seconds_left)
    shape = setup.shape if width is None else replace(setup.shape, width=width)
    if speed.measure and len(candidates) > 1:
        execution, what = fastest(candidates, functools.partial(measure, shape.width))
        note(what)
    on_gpu = setup.request.device.type == "cuda"
    compiled = compiled_execution(execution, speed, budget.seconds, on_gpu)
    if speed.measure and compiled is not None and group.world_size == 1:
        note("trying torch.compile, which takes about half a minute")
        execution, what = fastest([execution, compiled], functools.partial(measure, shape.width))
        note(what)

    seconds = measure(shape.width, execution)
    note(
        f"{shape.width:g} x the paper's network width: a step takes {seconds:.3f} s, "
        f"the budget affords about {affordable_steps(seconds_left(), seconds, 10**9)} steps"
    )
    share = setup.pretraining.share * seconds_left()
    return Plan(
        shape=shape,
        execution=execution,
        seconds_per_step=seconds,
        pretraining_ends=budget.spent + share,
        steps=affordable_steps(share, seconds, setup.pretraining.steps),
    )


def replanned(
    plan: Plan, setup: Setup, step: int, most: int, seconds: float, seconds_left: float
) -> Plan:
    """The plan by the speed of the steps since it was last made.

    Args:
        plan: The plan so far.
        setup: The run.
        step: Steps of this phase that are done.
        most: Steps after which the phase ends.
        seconds: Wall clock of one of the last steps.
        seconds_left: For this phase.
    """
    # The first steps also allocate and choose kernels.
    if step > setup.recipe.log_every:
        mean = (1 - _NEW_SHARE) * plan.seconds_per_step + _NEW_SHARE * seconds
        plan = replace(plan, seconds_per_step=mean)
    further = affordable_steps(seconds_left, plan.seconds_per_step, most - step)
    return replace(plan, steps=step + setup.request.group.broadcast(further))


def _seconds_per_step(setup: Setup, width: float, execution: Execution) -> float:
    """Wall clock of one step of the method, on networks that are thrown away."""
    learner = setup.learner(replace(setup.shape, width=width), TRAINING, execution)
    batches, second_batches = setup.batches(TRAINING), setup.second_batches()
    seconds = []
    for step in range(_WARM_UP_STEPS[execution.compiled] + _MEASURED_STEPS):
        started = time.perf_counter()
        second = functools.partial(second_batches, step)
        terms = learner.step(setup.recipe.objective, batches(step), 0.0, second)
        terms["loss"].item()
        seconds.append(time.perf_counter() - started)
    # The shortest: whatever else this machine does makes a step only longer.
    return min(seconds[-_MEASURED_STEPS:])
