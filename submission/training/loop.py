"""The training of one run inside its budget, as the paper's Section 2 tells it."""

import contextlib
import copy
import functools
import math
import time
from collections.abc import Callable
from dataclasses import replace

from submission.budget import Budget, affordable_steps, format_duration
from submission.interruption import Interruption
from submission.runs.folder import exclusive
from submission.runs.record import Record
from submission.schedules import Capacity
from submission.training.checks import check_device
from submission.training.execution import plain_executions, prepare_device
from submission.training.fallback import FIRST_STEPS, check_resumed, step_back
from submission.training.outputs import RunOutput
from submission.training.plan import Plan, choose, replanned
from submission.training.progress import Display
from submission.training.recipe import PRETRAINING, TRAINING, Scoring, Speed
from submission.training.self_scoring import SelfScorer
from submission.training.setup import Request, Setup
from submission.training.state import State

# So many skipped steps in a row can't be chance: the run is broken and ends.
_MOST_SKIPPED_RUNNING = 100


def train(request: Request, budget: Budget, interruption: Interruption, display: Display) -> Record:
    """Trains and exports, or goes on with a run of the same settings that was killed.

    Whatever ends the training, the representation in the run folder is valid; `Record.status`
    says what it is worth.

    Args:
        request: What to train.
        budget: The time that may be used.
        interruption: Tells of signals.
        display: Shows the progress.

    Returns:
        The record, which also stands in `training/run.json`.

    Raises:
        UserError: The folder can't be written, no room is left, or another process is at it.
    """
    group, folder = request.group, request.folder
    prepare_device(request.device.type == "cuda", Speed().measure)
    with contextlib.ExitStack() as cleanup:
        if group.is_leader:
            cleanup.enter_context(exclusive(folder))
        setup = Setup(request)
        recipe, pretraining = setup.recipe, setup.pretraining
        output = cleanup.enter_context(RunOutput(setup, budget, display))

        # Begin with an untrained representation, or go on where a killed run stands, on a device
        # and in a form that were held against the CPU and the plain one.
        if request.gpu_problem:
            setup.leave_device(request.gpu_problem, output.warn)
        check_device(setup, output.warn)
        setup.load_resident(output.warn)
        state = output.resume()
        if state is not None:
            check_resumed(setup, state, group.broadcast(budget.left), output.warn)
        else:
            on_gpu = setup.request.device.type == "cuda"
            state = output.begin(Plan(setup.shape, plain_executions(setup.speed, on_gpu)[0]))
            if group.broadcast(budget.left) <= 0:
                return output.end(state, "untrained", _too_short(budget))
            state = output.begin(choose(setup, budget, output.note, output.warn))
            if pretraining.steps and not state.plan.steps:
                output.warn("the budget is too short for pre-training")
        for number, crash in enumerate(request.supervisor.crashes, start=1):
            output.warn(f"training was ended by {crash} and started again (restart {number})")
        scorer = SelfScorer(Scoring(), folder, request.dataset.address, budget, output.warn)
        cleanup.callback(scorer.stop)

        stopped_by = None
        for phase in (PRETRAINING, TRAINING):
            if phase == PRETRAINING:
                if state.phase == TRAINING:
                    continue
                # The conventional VAE's weights, from which all methods start (Section 2.1).
                objective, until = pretraining.objective, state.plan.pretraining_ends
                trains = state.plan.steps > 0 and not output.load_pretrained(state)
                most = pretraining.steps if trains else 0
            else:
                if state.phase == PRETRAINING:
                    begin_training(state, setup, budget, output.warn)
                objective, until, most = recipe.objective, math.inf, recipe.max_steps
            learner = state.learner
            batches, second_batches = setup.batches(phase), setup.second_batches()
            if learner.step_count == 0:
                output.snapshot_if_due(state)
            seen_step, seen_at = learner.step_count, time.monotonic()
            first_steps_end = seen_step + FIRST_STEPS

            while learner.step_count < most:
                late = min(budget.left, until - budget.spent) < state.plan.seconds_per_step
                stopped_by, late = group.broadcast((interruption.reason, late))
                if stopped_by or late:
                    break
                step = learner.step_count
                state.capacity = max(state.capacity, Capacity().at(step, state.plan.steps))
                second = functools.partial(second_batches, step)
                before = copy.deepcopy(learner.state_dict()) if step < first_steps_end else None
                try:
                    terms = learner.step(objective, batches(step), state.capacity, second)
                except Exception as error:
                    if before is None or not step_back(setup, state, before, error, output.warn):
                        raise
                    learner = state.learner
                    batches, second_batches = setup.batches(phase), setup.second_batches()
                    continue
                if learner.step_count % batches.steps_per_epoch == 0:
                    learner.end_epoch()
                if learner.step_count % recipe.log_every == 0 or step == 0:
                    epoch = learner.step_count / batches.steps_per_epoch
                    row = output.add_row(state, terms, epoch)
                    if phase == TRAINING and group.is_leader:
                        scorer.poll(learner.model, row)
                    seconds = (time.monotonic() - seen_at) / (learner.step_count - seen_step)
                    # The first steps also allocate, choose kernels and may compile.
                    known = seconds if seen_step >= first_steps_end else None
                    seen_step, seen_at = learner.step_count, time.monotonic()
                    left = min(budget.left, until - budget.spent)
                    state.plan = replanned(state.plan, setup, seen_step, most, known, left)
                    output.show(state, row, 1 / seconds)
                    if int(learner.skipped_running) >= _MOST_SKIPPED_RUNNING:
                        raise FloatingPointError(
                            f"{_MOST_SKIPPED_RUNNING} steps in a row had a gradient "
                            "that is not finite"
                        )
                output.snapshot_if_due(state)
                output.note_seconds_if_due()
                output.checkpoint_if_due(state)

            if stopped_by is not None:
                break
            if phase == PRETRAINING and most:
                output.save_pretrained(state)

        if stopped_by is not None:
            output.checkpoint(state)
        output.end(state, *_ending(state, stopped_by, recipe.max_steps))
        scorer.finish(lambda: budget.left > 0 and interruption.reason is None)
        return state.record


def begin_training(state: State, setup: Setup, budget: Budget, warn: Callable[[str], None]) -> None:
    """Goes over from pre-training to the method's own training, with fresh optimisers."""
    if not state.record.pretraining_cached:
        state.record.pretraining_steps = state.learner.step_count
    skipped = state.learner.skipped
    state.phase, state.capacity = TRAINING, 0.0
    plan = state.plan
    state.learner = setup.learner(plan.shape, TRAINING, plan.execution, state.learner.model)
    state.learner.skipped += skipped
    left = setup.request.group.broadcast(budget.left)
    steps = affordable_steps(left, plan.seconds_per_step, setup.recipe.max_steps)
    state.plan = replace(plan, steps=steps)
    # The capacity at the end of this plan, against that of a plan which never ends: with a schedule
    # in steps a short run stops below `capacity.final`; with one in shares it never does.
    capacity = Capacity()
    if capacity.at(steps, steps) < capacity.at(10**12, steps):
        warn(f"the budget affords about {steps} steps: the capacity C won't reach its final value")


def _too_short(budget: Budget) -> str:
    return (
        f"a budget of {format_duration(budget.seconds)} is too short to train: "
        "the representation is untrained"
    )


def _ending(state: State, stopped_by: str | None, max_steps: int) -> tuple[str, str]:
    """The run's status and the sentence on it."""
    steps = state.learner.step_count if state.phase == TRAINING else 0
    if stopped_by is not None:
        return "interrupted", f"{stopped_by} ended {state.phase} at step {steps}"
    if steps == 0 and not state.record.pretraining_steps:
        return "untrained", "the budget was too short for one step"
    if steps >= max_steps:
        return "finished", f"all {steps} steps are done"
    return "finished", f"the budget is used up after {steps} steps"
