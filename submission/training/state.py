"""The state of a run: all that a checkpoint holds, complete from its first moment."""

import datetime
from dataclasses import asdict, dataclass, replace
from typing import Any

import gin
import torch

from submission.runs.provenance import git_revision, versions
from submission.runs.record import Record
from submission.training.execution import Execution, on_device
from submission.training.plan import Plan
from submission.training.recipe import PRETRAINING, TRAINING
from submission.training.setup import Setup
from submission.training.step import Learner

# What training computes with, whose versions a record tells.
_PACKAGES = ("torch", "numpy", "gin-config", "h5py", "tensorboardX")

CHECKPOINT = (
    "identity",
    "export_seconds",
    "rows",
    "phase",
    "seconds_per_step",
    "pretraining_ends",
    "capacity",
    "learner",
    "record",
)
"""The keys of a checkpoint; the first three are the output's to write."""


@dataclass
class State:
    """What changes while a run goes on.

    Attributes:
        phase: `PRETRAINING` or `TRAINING`.
        plan: What the budget is expected to afford.
        learner: Networks, optimisers, generator, steps done.
        record: What `run.json` says.
        capacity: The largest C of Eq. 2 in this phase: a plan that grows stretches the schedule,
            yet C never falls.
    """

    phase: str
    plan: Plan
    learner: Learner
    record: Record
    capacity: float = 0.0

    def take_form(self, setup: Setup, execution: Execution, learned: dict[str, Any]) -> None:
        """Goes on in another form, on the setup's device.

        Args:
            setup: The run.
            execution: The form.
            learned: The learner's `state_dict` to go on from.
        """
        self.plan = replace(self.plan, execution=execution)
        self.learner = setup.learner(self.plan.shape, self.phase, execution)
        self.learner.load_state_dict(learned)
        self.record.form = asdict(execution)
        self.record.device = str(setup.request.device)

    def to_checkpoint(self) -> dict[str, Any]:
        """Tensors and plain values, from which `from_checkpoint` goes on bit by bit."""
        return {
            "phase": self.phase,
            "seconds_per_step": self.plan.seconds_per_step,
            "pretraining_ends": self.plan.pretraining_ends,
            "capacity": self.capacity,
            "learner": self.learner.state_dict(),
            "record": vars(self.record),
        }


def begin(setup: Setup, plan: Plan, budget_seconds: float) -> State:
    """An untrained run by a plan.

    A run begins twice: with the width that gin says, so that something valid is exported before
    anything is measured, and with the plan that measuring gave.
    """
    request = setup.request
    record = Record(
        name=request.name,
        method=request.method,
        dataset=request.dataset.name,
        dataset_fingerprint=request.dataset.fingerprint(),
        dataset_path=request.dataset.address if request.dataset.is_own else "",
        preset=request.preset,
        seed=setup.recipe.seed,
        budget_seconds=budget_seconds,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        image_shape=[int(n) for n in request.dataset.observation_shape],
        latents=plan.shape.latents,
        width=plan.shape.width,
        device=str(request.device),
        threads=torch.get_num_threads(),
        gin_config=gin.config_str(),
        git_revision=git_revision(),
        versions=versions(_PACKAGES),
        processes=request.group.world_size,
        form=asdict(plan.execution),
        pretraining_steps=plan.steps,
    )
    return State(PRETRAINING, plan, setup.learner(plan.shape, PRETRAINING, plan.execution), record)


def from_checkpoint(setup: Setup, content: dict[str, Any]) -> State:
    """The state that `State.to_checkpoint` wrote, whose device may have been another."""
    record = Record(**content["record"])
    record.device = str(setup.request.device)
    plan = Plan(
        shape=replace(setup.shape, width=record.width),
        execution=on_device(Execution(**record.form), setup.request.device.type == "cuda"),
        seconds_per_step=content["seconds_per_step"],
        pretraining_ends=content["pretraining_ends"],
        steps=record.planned_steps if content["phase"] == TRAINING else record.pretraining_steps,
    )
    learner = setup.learner(plan.shape, content["phase"], plan.execution)
    learner.load_state_dict(content["learner"])
    return State(content["phase"], plan, learner, record, content["capacity"])
