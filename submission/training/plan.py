"""What a run makes of its budget: the networks' width, the execution of a step, the steps."""

import functools
import time
from dataclasses import dataclass, replace
from math import inf

from submission.budget import Budget, affordable_steps, choose_width
from submission.errors import UserError
from submission.networks import NetworkShape
from submission.training.checks import (
    FormError,
    check_form,
    free_memory,
    fresh_learner,
    out_of_memory,
    told,
)
from submission.training.execution import (
    Execution,
    compiled_execution,
    fastest,
    next_form,
    plain_executions,
)
from submission.training.recipe import TRAINING
from submission.training.setup import Setup, Tell

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


def choose(setup: Setup, budget: Budget, note: Tell, warn: Tell) -> Plan:
    """Fixes width and execution by measuring, as far as gin lets it, and plans the pre-training.

    The width comes first, measured with the likeliest execution, since it changes the time of a
    step by factors and the execution by per cents; `torch.compile`, which takes half a minute, is
    tried last and only on the network that will be trained. What doesn't compute what the plain
    form does, fails or runs out of memory is passed over; where nothing else is left on a GPU,
    training happens on the CPU.

    Args:
        setup: The run; its processes measure together and take rank 0's numbers.
        budget: The run's.
        note: Takes a line on what was measured and chosen.
        warn: Takes a line on what is passed over.

    Raises:
        UserError: Nothing works on the GPU, and `speed.cpu_fallback` is False.
        Exception: What the plain form raises on the CPU.
    """
    try:
        return _choose(setup, budget, note, warn)
    except UserError:
        raise
    except Exception as error:
        agreed = setup.request.group.world_size == 1 or isinstance(error, FormError)
        if setup.request.device.type == "cpu" or not agreed:
            raise
        problem = told(error)
    free_memory()
    setup.leave_device(problem, warn)
    return _choose(setup, budget, note, warn)


def _choose(setup: Setup, budget: Budget, note: Tell, warn: Tell) -> Plan:
    group, speed = setup.request.group, setup.speed
    on_gpu = setup.request.device.type == "cuda"
    candidates = plain_executions(speed, on_gpu)

    def seconds_left() -> float:
        return group.broadcast(budget.left)

    @functools.cache
    def measure(width: float, execution: Execution) -> float:
        return _seconds_or_inf(setup, width, execution, note, warn)

    def likeliest(width: float) -> Execution:
        """The first form that works; if none does, the last."""
        forms = dict.fromkeys([*candidates, Execution()])
        return next((one for one in forms if measure(width, one) < inf), Execution())

    width = choose_width(lambda width: measure(width, likeliest(width)), seconds_left)
    shape = setup.shape if width is None else replace(setup.shape, width=width)
    execution = likeliest(shape.width)
    seconds = measure(shape.width, execution)
    if seconds == inf:
        # Once more, for its exception.
        seconds = group.broadcast(_seconds_per_step(setup, shape.width, execution))
    elif speed.measure:
        measured = {one: measure(shape.width, one) for one in candidates}
        if sum(one < inf for one in measured.values()) > 1:
            execution, what = fastest(measured)
            note(what)
        compiled = compiled_execution(execution, speed, budget.seconds, on_gpu)
        # A crash before the first checkpoint may have been the compiler's doing.
        may_compile = group.world_size == 1 and not setup.request.supervisor.crashes
        if may_compile and compiled is not None:
            note("trying torch.compile, which takes about half a minute")
            while compiled.compiled and measure(shape.width, compiled) == inf:
                compiled = next_form(compiled) or execution
            if compiled.compiled:
                both = (execution, compiled)
                execution, what = fastest({one: measure(shape.width, one) for one in both})
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
    plan: Plan, setup: Setup, step: int, most: int, seconds: float | None, seconds_left: float
) -> Plan:
    """The plan by the speed of the steps since it was last made.

    Args:
        plan: The plan so far.
        setup: The run.
        step: Steps of this phase that are done.
        most: Steps after which the phase ends.
        seconds: Wall clock of one of the last steps; None where that isn't its speed yet.
        seconds_left: For this phase.
    """
    if seconds is not None:
        mean = (1 - _NEW_SHARE) * plan.seconds_per_step + _NEW_SHARE * seconds
        plan = replace(plan, seconds_per_step=mean)
    further = affordable_steps(seconds_left, plan.seconds_per_step, most - step)
    return replace(plan, steps=step + setup.request.group.broadcast(further))


def _seconds_or_inf(
    setup: Setup, width: float, execution: Execution, note: Tell, warn: Tell
) -> float:
    """Of a step; infinite where the form doesn't work at this width, which is told."""
    group = setup.request.group
    while True:
        try:
            return group.broadcast(_seconds_per_step(setup, width, execution))
        except UserError:
            raise
        except Exception as error:
            if group.world_size > 1 and not isinstance(error, FormError):
                raise
            problem, full = told(error), out_of_memory(error)
            serious = full or isinstance(error, FormError) or not execution.compiled
        free_memory()
        if full and group.first(setup.stream_batches()):
            warn("out of memory: the data set leaves the GPU's, and batches are copied")
            continue
        if full:
            problem += f" at {width:g} x the paper's network width"
        tell = warn if serious else note
        tell(f"{execution}: not to be had ({problem})")
        return inf


def _seconds_per_step(setup: Setup, width: float, execution: Execution) -> float:
    """Wall clock of one step of the method, on networks that are checked and thrown away."""
    learner = fresh_learner(setup, replace(setup.shape, width=width), execution)
    check_form(setup, learner)
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
