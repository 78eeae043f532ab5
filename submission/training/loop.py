"""The training of one run inside its budget: pre-training, training, and the exports."""

import contextlib
import datetime
import functools
import math
import time
from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated

import gin
import numpy as np
import torch

from submission.budget import (
    Budget,
    Duration,
    affordable_steps,
    choose_width,
    format_duration,
    parse_duration,
)
from submission.configuration import methods, operative, references
from submission.datasets.dataset import Dataset
from submission.errors import UserError
from submission.interruption import Interruption
from submission.networks import VAE, Discriminator, NetworkShape, Posterior
from submission.objectives import Objective, kl_to_prior
from submission.runs.files import TEMPORARY_PREFIX, out_of_room, remove_leftovers
from submission.runs.folder import RunFolder, exclusive, set_aside
from submission.runs.history import History, Row
from submission.runs.record import Record, git_revision, read_record, versions
from submission.schedules import capacity
from submission.training import checkpoint
from submission.training.batches import Batches, load_resident
from submission.training.distributed import Team
from submission.training.execution import (
    Form,
    Speed,
    compiled_form,
    fastest,
    plain_forms,
    prepare_device,
)
from submission.training.export import ExportError, export
from submission.training.progress import Display, describe_step
from submission.training.self_scoring import Scoring, SelfScorer
from submission.training.step import Learner, new_model
from submission.values import Interval, Needs, Seed, Share

PRETRAINING = "pretraining"
TRAINING = "training"

# What `_save` writes and a run goes on from.
_CHECKPOINT = (
    "identity",
    "phase",
    "seconds_per_step",
    "pretraining_ends",
    "capacity",
    "export_seconds",
    "learner",
    "record",
    "rows",
)

# Numbers that keep the random streams of one seed apart.
_STREAMS = {PRETRAINING: 0, TRAINING: 1, "second batch": 2}

# So many skipped steps in a row can't be chance: the run is broken and ends.
_MOST_SKIPPED_RUNNING = 100
_SAMPLE_IMAGES = 1024
_MEASURED_STEPS = 2
_SECONDS_BETWEEN_NOTES = 1.0
# Settings that pre-training doesn't read; of whatever else is added, it may.
_NOT_OF_PRETRAINING = {
    "trainer.objective",
    "trainer.max_steps",
    "trainer.discriminator",
    "trainer.discriminator_learning_rate",
    "trainer.discriminator_adam_betas",
    "trainer.checkpoint_every",
    "trainer.log_every",
    "trainer.snapshot_every",
}
# The first steps also allocate and choose kernels; torch.compile's compile and record CUDA graphs.
_WARM_UP_STEPS = {False: 1, True: 3}


LearningRate = Annotated[float, Interval(gt=0, le=1)]
AdamBeta = Annotated[float, Interval(ge=0, lt=1)]
_WITH_DISCRIMINATOR = Needs("trainer.discriminator")


@gin.configurable("trainer")
@dataclass(frozen=True)
class Recipe:
    """What the paper calls the experiment's settings; `gin/` holds their values.

    Attributes:
        objective: The method's loss, from `submission.objectives`.
        budget: Wall-clock time, such as `8h`; export and a margin are part of it.
        max_steps: Steps after which training ends even if time is left.
        batch_size: Images a step; total correlation, covariances and MMD compare two at least.
        learning_rate: Adam's, at the start.
        adam_betas: Adam's.
        seed: Seeds weights, noise and the order of the images.
        discriminator: FactorVAE's classifier, made from the number of latents.
        discriminator_learning_rate: Its Adam's.
        discriminator_adam_betas: Its Adam's.
        checkpoint_every: Time between two checkpoints, each with an export.
        log_every: Steps between two rows of the history.
        snapshot_every: Training steps between two representations that are kept, the first of them
            before the first step; None keeps only the last.
    """

    objective: Objective = gin.REQUIRED
    budget: Annotated[str, Duration(above_zero=True)] = "8h"
    max_steps: Annotated[int, Interval(ge=0, le=10**9)] = 100_000
    batch_size: Annotated[int, Interval(ge=2, le=2**16)] = 64
    learning_rate: LearningRate = 1e-3
    adam_betas: tuple[AdamBeta, AdamBeta] = (0.9, 0.999)
    seed: Seed = 0
    discriminator: Callable[[int], Discriminator] | None = None
    discriminator_learning_rate: Annotated[LearningRate, _WITH_DISCRIMINATOR] = 1e-4
    discriminator_adam_betas: Annotated[tuple[AdamBeta, AdamBeta], _WITH_DISCRIMINATOR] = (0.5, 0.9)
    checkpoint_every: Annotated[str, Duration()] = "5m"
    log_every: Annotated[int, Interval(ge=1, le=10**9)] = 50
    snapshot_every: Annotated[int, Interval(ge=1, le=10**9)] | None = None


@gin.configurable("pretraining")
@dataclass(frozen=True)
class Pretraining:
    """The paper's pre-training (Section 2.1), whose weights all methods start from.

    Attributes:
        objective: The conventional VAE's loss.
        steps: Steps; 0 switches it off.
        share: The largest share of the time for training that it may use.
    """

    objective: Annotated[Objective, Needs("pretraining.steps")] = gin.REQUIRED
    steps: Annotated[int, Interval(ge=0, le=10**9)] = 0
    share: Annotated[Share, Needs("pretraining.steps")] = 0.2


@dataclass(frozen=True)
class Request:
    """What one run is about.

    Attributes:
        name: The run's name.
        method: The method's name.
        preset: The preset's name.
        dataset: The images.
        folder: Where the run is written.
        pretrained: The folder of the shared, pre-trained weights.
        device: Where training happens.
        team: The processes that train together; the first one decides, writes and shows.
    """

    name: str
    method: str
    preset: str
    dataset: Dataset
    folder: RunFolder
    pretrained: Path
    device: torch.device
    team: Team = field(default_factory=Team)


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
    recipe, pretraining = Recipe(), Pretraining()
    with exclusive(request.folder) if request.team.leads else contextlib.nullcontext():
        run = _Run(request, recipe, pretraining, budget, interruption, display)
        try:
            run.prepare()
            if run.record.status == "running":
                run.pretrain()
                run.train()
                run.finish()
        except UserError:
            raise
        except KeyboardInterrupt:
            run.give_up()
            raise
        except Exception as error:
            run.fail(error)
            raise
        finally:
            run.close()
    return run.record


class _Run:
    """One run's state between its phases."""

    def __init__(
        self,
        request: Request,
        recipe: Recipe,
        pretraining: Pretraining,
        budget: Budget,
        interruption: Interruption,
        display: Display,
    ) -> None:
        self.request = request
        self.recipe = recipe
        self.pretraining = pretraining
        self.budget = budget
        self.interruption = interruption
        self.display = display
        self.folder = request.folder
        self.team = request.team
        self.team.share_of(recipe.batch_size)
        self.speed = Speed()
        self.on_gpu = request.device.type == "cuda"
        prepare_device(self.speed, self.on_gpu)
        self.form = Form()
        self.phase = PRETRAINING
        # The signal that ended the steps.
        self.stopped_by: str | None = None
        self.checkpoint_every = parse_duration(recipe.checkpoint_every, "trainer.checkpoint_every")
        self.last_checkpoint = time.monotonic()
        self.last_noted = 0.0
        self.checkpoint_seconds = 0.0
        self.seconds_per_step = 0.0
        self.pretraining_ends = 0.0
        self.capacity = 0.0
        self.measured: dict[tuple[float, Form], float] = {}
        self.mean_colour = _sample(request.dataset).mean(axis=(0, 1, 2)).tolist()
        self.identity = checkpoint.identity(
            method=request.method,
            dataset=request.dataset.fingerprint(),
            settings={k: v for k, v in _all_settings().items() if not _spares_weights(k)},
            layers=_layers(),
        )
        self.history: History | None = None
        self.resident = load_resident(request.dataset, request.device, self.speed.resident)
        self.scorer = SelfScorer(Scoring(), self.folder, request.dataset.name, budget, self._warn)

    # --- set-up -----------------------------------------------------------------------------

    def prepare(self) -> None:
        """Resumes a killed run, or plans a new one and exports it untrained."""
        state = self._unfinished()
        # No process may still be reading what the leader moves out of the way.
        if self.team.agree(state is None and self._is_worth_keeping()) and self.team.leads:
            kept = set_aside(self.folder)
            self._note(f"an earlier run of this name was kept as {kept}")
        if self.team.leads:
            self.folder.training.mkdir(parents=True, exist_ok=True)
            for leftovers in (self.folder.training, self.folder.representation):
                remove_leftovers(leftovers)
            tensorboard = self.folder.training / "tensorboard"
            rows = state["rows"] if state else None
            self.history = History(self.folder.history, tensorboard, rows)
        if state is None:
            self._start()
        else:
            self._resume(state)

    def _unfinished(self) -> dict | None:
        """The checkpoint of a run with these very settings, if one was killed."""
        state = self._load(self.folder.checkpoint, _CHECKPOINT)
        if state is None or state["identity"] != self.identity:
            return None
        # A later version's record may have fields that this one doesn't know.
        known = {one.name for one in fields(Record)}
        return state if state["record"].keys() <= known else None

    def _load(self, path: Path, keys: Collection[str]) -> dict | None:
        """A file of an earlier process, if there is one that can be used."""
        if not self.team.agree(path.exists()):
            return None
        try:
            return checkpoint.load(path, self.request.device, keys)
        except UserError as error:
            self._note(f"warning: {error}: its work is done anew")
            return None

    def _is_worth_keeping(self) -> bool:
        """Whether an earlier run of this name got further than its first export."""
        if self.folder.checkpoint.exists():
            return True
        if not self.folder.record.exists():
            return False
        try:
            return read_record(self.folder.record).get("status") not in ("running", "untrained")
        except UserError:
            return True

    def _start(self) -> None:
        # In place of what an earlier run of this name may have noted.
        self._note_seconds()
        channels = self.request.dataset.observation_shape[2]
        shape = NetworkShape(channels)
        self.record = self._new_record(shape)
        self.learner = self._new_learner(self._new_model(shape), PRETRAINING)
        self._export()
        if self._left() <= 0:
            self._end(
                "untrained",
                f"a budget of {format_duration(self.budget.seconds)} is too short to train: "
                "the representation is untrained",
            )
            return
        self._choose(channels)
        exported, shape = shape, NetworkShape(channels)
        self.record = self._new_record(shape)
        self.learner = self._new_learner(self._new_model(shape), PRETRAINING)
        if shape != exported:
            self._export()
        affordable = affordable_steps(self._left(), self.seconds_per_step, 10**9)
        self._note(
            f"{shape.width:g} x the paper's network width: a step takes "
            f"{self.seconds_per_step:.3f} s, the budget affords about {affordable} steps"
        )
        share = self.pretraining.share * self._left()
        self.pretraining_ends = self.budget.spent + share
        self.record.pretraining_steps = affordable_steps(
            share, self.seconds_per_step, self.pretraining.steps
        )
        if self.pretraining.steps and not self.record.pretraining_steps:
            self._warn("the budget is too short for pre-training")

    def _choose(self, channels: int) -> None:
        """Fixes the networks' width and the form of a step by measuring, as far as gin lets it."""
        candidates = plain_forms(self.speed)
        width = choose_width(lambda width: self._measure(width, candidates[0]), self._left)
        if width is not None:
            with gin.unlock_config():
                gin.bind_parameter("network.width", width)
        width = NetworkShape(channels).width
        self.form = candidates[0]
        if self.speed.measure:
            self._choose_form(width, candidates)
        self.seconds_per_step = self._measure(width, self.form)

    def _choose_form(self, width: float, candidates: list[Form]) -> None:
        """Fixes the form of a step by measuring."""
        measure = functools.partial(self._measure, width)
        if len(candidates) > 1:
            self.form, what = fastest(candidates, measure)
            self._note(what)
        compiled = compiled_form(self.form, self.speed, self.budget.seconds, self.on_gpu)
        if compiled is not None and self.team.size == 1:
            self._note("trying torch.compile, which takes about half a minute")
            self.form, what = fastest([self.form, compiled], measure)
            self._note(what)

    def _resume(self, state: dict) -> None:
        record = state["record"]
        self.record = Record(**record)
        with gin.unlock_config():
            gin.bind_parameter("network.width", self.record.width)
        shape = NetworkShape(self.request.dataset.observation_shape[2])
        self.form = Form(**self.record.form)
        self.phase = state["phase"]
        self.seconds_per_step = state["seconds_per_step"]
        self.pretraining_ends = state["pretraining_ends"]
        self.capacity = state["capacity"]
        self.learner = self._new_learner(self._new_model(shape), self.phase)
        self.learner.load_state_dict(state["learner"])
        # Of a killed run, also what it spent behind its last checkpoint.
        self.budget.spent_before = max(
            self.record.seconds_spent, _read_seconds(self.folder.seconds)
        )
        self._note_seconds()
        self.budget.export_seconds = state["export_seconds"]
        self._note(
            f"resuming {self.phase} at step {self.learner.step_count}, "
            f"{format_duration(max(0.0, self.budget.left))} left"
        )

    def _new_record(self, shape: NetworkShape) -> Record:
        return Record(
            name=self.request.name,
            method=self.request.method,
            dataset=self.request.dataset.name,
            dataset_fingerprint=self.request.dataset.fingerprint(),
            preset=self.request.preset,
            seed=self.recipe.seed,
            budget_seconds=self.budget.seconds,
            started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            image_shape=[int(n) for n in self.request.dataset.observation_shape],
            latents=shape.latents,
            width=shape.width,
            device=str(self.request.device),
            threads=torch.get_num_threads(),
            gin_config=gin.config_str(),
            git_revision=git_revision(),
            versions=versions(),
            processes=self.team.size,
            form=asdict(self.form),
        )

    def _new_model(self, shape: NetworkShape) -> VAE:
        return new_model(shape, self.recipe.seed, self.request.device, self.mean_colour)

    def _new_learner(self, model: VAE, phase: str, form: Form | None = None) -> Learner:
        """A learner with fresh optimisers; only training has a discriminator."""
        recipe = self.recipe
        discriminator = None
        if phase == TRAINING and recipe.discriminator is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(recipe.seed)
                discriminator = recipe.discriminator(model.shape.latents).to(self.request.device)
        return Learner(
            model,
            seed=2 * recipe.seed + (phase == TRAINING),
            learning_rate=recipe.learning_rate,
            adam_betas=recipe.adam_betas,
            discriminator=discriminator,
            discriminator_learning_rate=recipe.discriminator_learning_rate,
            discriminator_adam_betas=recipe.discriminator_adam_betas,
            form=form or self.form,
            team=self.team,
        )

    def _batches(self, stream: str) -> Batches:
        return Batches(
            self.request.dataset,
            self.recipe.batch_size,
            self.recipe.seed,
            _STREAMS[stream],
            self.request.device,
            resident=self.resident,
            team=self.team,
        )

    def _measure(self, width: float, form: Form) -> float:
        """Seconds of one step of the method, on networks that are thrown away."""
        if (width, form) in self.measured:
            return self.measured[width, form]
        channels = self.request.dataset.observation_shape[2]
        model = self._new_model(NetworkShape(channels, width=width))
        learner = self._new_learner(model, TRAINING, form)
        batches, second = self._batches(TRAINING), self._batches("second batch")
        seconds = []
        for step in range(_WARM_UP_STEPS[form.compiled] + _MEASURED_STEPS):
            started = time.perf_counter()
            images = batches(step)
            terms = learner.step(self.recipe.objective, images, 0.0, lambda: second(step))  # noqa: B023
            terms["loss"].item()
            seconds.append(time.perf_counter() - started)
        # The shortest: whatever else this machine does makes a step only longer.
        self.measured[width, form] = self.team.agree(min(seconds[-_MEASURED_STEPS:]))
        return self.measured[width, form]

    def _left(self) -> float:
        """Seconds that the leader still has for training."""
        return self.team.agree(self.budget.left)

    # --- phases -----------------------------------------------------------------------------

    def pretrain(self) -> None:
        """The VAE's pre-training, or its cached weights."""
        if self.phase != PRETRAINING:
            return
        planned = self.record.pretraining_steps
        path = self.request.pretrained / f"{self._pretraining_identity()}.pt"
        fresh = planned and self.learner.step_count == 0
        weights = self._load(path, ("model", "steps")) if fresh else None
        if weights is not None:
            self.learner.model.load_state_dict(weights["model"])
            self.record.pretraining_steps = weights["steps"]
            self.record.pretraining_cached = True
            self._note(f"pre-trained weights of {weights['steps']} steps read from {path}")
        elif planned:
            self._loop(self.pretraining.objective, self.pretraining.steps, self.pretraining_ends)
            if self.stopped_by is not None:
                return
            steps = self.learner.step_count
            self.record.pretraining_steps = steps
            weights = {"model": self.learner.model.state_dict(), "steps": steps}
            self._spare_disk(lambda: checkpoint.save(path, weights))
        if self.stopped_by is None:
            self._begin_training()

    def _pretraining_identity(self) -> str:
        return checkpoint.identity(
            dataset=self.request.dataset.fingerprint(),
            shape=self.learner.model.shape,
            layers=_layers(),
            settings=pretraining_settings(),
        )

    def _begin_training(self) -> None:
        skipped = self.learner.skipped
        self.phase = TRAINING
        self.capacity = 0.0
        self.learner = self._new_learner(self.learner.model, TRAINING)
        self.learner.skipped += skipped
        self.record.planned_steps = affordable_steps(
            self._left(), self.seconds_per_step, self.recipe.max_steps
        )
        planned = self.record.planned_steps
        if capacity(planned, planned) < capacity(10**12, planned):
            self._warn(
                f"the budget affords about {planned} steps: "
                "the capacity C won't reach its final value"
            )

    def train(self) -> None:
        """The method's own training."""
        if self.phase == TRAINING:
            self._loop(self.recipe.objective, self.recipe.max_steps, math.inf)

    def _loop(self, objective: Objective, steps: int, until: float) -> None:
        """Steps until their number, a second of the budget, its end or a signal stops it."""
        learner, recipe = self.learner, self.recipe
        batches = self._batches(self.phase)
        second = self._batches("second batch")
        shown = (learner.step_count, time.monotonic())
        if learner.step_count == 0:
            self._keep_snapshot()
        while learner.step_count < steps and self._may_go_on(until):
            step = learner.step_count
            # A plan that grows stretches the schedule, yet C never falls.
            self.capacity = max(self.capacity, capacity(step, self._planned_steps))
            images = batches(step)
            terms = learner.step(objective, images, self.capacity, lambda: second(step))  # noqa: B023
            if learner.step_count % batches.steps_per_epoch == 0:
                learner.end_epoch()
            if learner.step_count % recipe.log_every == 0 or step == 0:
                row = {name: float(value) for name, value in terms.items()}
                row |= {"capacity": self.capacity} if self.phase == TRAINING else {}
                self._log(row, learner.step_count / batches.steps_per_epoch)
                shown = self._show(row, shown, steps, until)
                if int(learner.skipped_running) >= _MOST_SKIPPED_RUNNING:
                    raise FloatingPointError(
                        f"{_MOST_SKIPPED_RUNNING} steps in a row had a gradient that is not finite"
                    )
            self._keep_snapshot()
            if time.monotonic() - self.last_noted > _SECONDS_BETWEEN_NOTES:
                self._note_seconds()
            # A slow disk must not eat the budget: at most a twentieth of the time goes into it.
            pause = max(self.checkpoint_every, 20.0 * self.checkpoint_seconds)
            if time.monotonic() - self.last_checkpoint > pause:
                self._spare_disk(self._save)

    def _may_go_on(self, until: float) -> bool:
        """Whether neither a signal nor the clock ends the steps, by the leader's word."""
        late = min(self.budget.left, until - self.budget.spent) < self.seconds_per_step
        self.stopped_by, late = self.team.agree((self.interruption.reason, late))
        return self.stopped_by is None and not late

    def _log(self, row: Row, epoch: float) -> None:
        if self.history is None:
            return
        position = {
            "phase": self.phase,
            "step": self.learner.step_count,
            "seconds": self.budget.spent,
            "epoch": epoch,
            "learning_rate": self.learner.learning_rate,
        }
        self.history.add(position | row)
        if self.phase == TRAINING:
            self.scorer.poll(self.learner.model, position | row)

    def _show(
        self, row: Row, shown: tuple[int, float], steps: int, until: float
    ) -> tuple[int, float]:
        """Shows a step, and plans anew by the speed since the one that was shown before."""
        now = (self.learner.step_count, time.monotonic())
        speed = (now[0] - shown[0]) / max(1e-9, now[1] - shown[1])
        if now[0] > self.recipe.log_every:
            self.seconds_per_step = 0.9 * self.seconds_per_step + 0.1 / speed
        left = min(self.budget.left, until - self.budget.spent)
        further = affordable_steps(left, self.seconds_per_step, steps - now[0])
        self._planned_steps = now[0] + self.team.agree(further)
        if self.team.leads:
            details = describe_step(now[0], self._planned_steps, self.budget.left, speed, row)
            self.display.update(self.phase, self.budget.spent / self.budget.seconds, details)
        return now

    @property
    def _planned_steps(self) -> int:
        """The steps of this phase that its time affords."""
        record = self.record
        return record.planned_steps if self.phase == TRAINING else record.pretraining_steps

    @_planned_steps.setter
    def _planned_steps(self, steps: int) -> None:
        if self.phase == TRAINING:
            self.record.planned_steps = steps
        else:
            self.record.pretraining_steps = steps

    # --- ends -------------------------------------------------------------------------------

    def finish(self) -> None:
        """The last export and record of a run that was not broken."""
        reason = self.stopped_by
        steps = self.learner.step_count if self.phase == TRAINING else 0
        if reason is not None:
            self._spare_disk(self._save)
            self._end("interrupted", f"{reason} ended {self.phase} at step {steps}")
        elif steps == 0 and not self.record.pretraining_steps:
            self._end("untrained", "the budget was too short for one step")
        elif steps >= self.recipe.max_steps:
            self._end("finished", f"all {steps} steps are done")
        else:
            self._end("finished", f"the budget is used up after {steps} steps")
        self.scorer.finish(lambda: self.budget.left > 0 and self.interruption.reason is None)

    def fail(self, error: Exception) -> None:
        """Exports what there is after an exception, which the caller raises again."""
        if not hasattr(self, "learner"):
            return
        try:
            self._end("failed", f"{type(error).__name__}: {error}")
        except ExportError as unusable:
            # Weights that are finite may still overflow; the last representation stays.
            self._warn(f"the representation is that of the last export: {unusable}")
            if self.history is not None:
                self.record.write(self.folder.record)
                self.history.write()

    def give_up(self) -> None:
        """Records an end that a second signal asks for at once; the last export stays."""
        if self.history is None or not hasattr(self, "record"):
            return
        self.record.status = "interrupted"
        self.record.message = f"a second signal ended {self.phase} without an export"
        self.record.write(self.folder.record)

    def close(self) -> None:
        """Ends self-scoring, history and display."""
        self.scorer.stop()
        if self.history is not None:
            self.history.close()
        if self.team.leads:
            self.display.close(self.record.status if hasattr(self, "record") else "failed")

    def _end(self, status: str, message: str) -> None:
        self.record.status, self.record.message = status, message
        if status in ("untrained", "failed"):
            self._warn(message)
        self._export()
        if self.team.leads and status in ("finished", "untrained"):
            self.folder.checkpoint.unlink(missing_ok=True)
            self.folder.seconds.unlink(missing_ok=True)

    def _export(self) -> None:
        """Representation, decoder, record and history, as of now."""
        if self.history is None:
            return
        started = time.monotonic()
        export(self.learner.model, self.folder)
        self._update_record()
        # The record last: it says whether the run is finished.
        self.history.write()
        self.record.write(self.folder.record)
        self.budget.export_seconds = max(self.budget.export_seconds, time.monotonic() - started)

    def _update_record(self) -> None:
        record = self.record
        record.seconds_spent = round(self.budget.spent, 3)
        record.steps = self.learner.step_count if self.phase == TRAINING else 0
        record.nonfinite_steps = int(self.learner.skipped)
        kl, deviation, variance = _latent_statistics(self.learner.model, self.request)
        record.kl_per_latent, record.posterior_std_per_latent = kl, deviation
        record.posterior_mean_variance_per_latent = variance

    def _save(self) -> None:
        """A checkpoint, and the representation that belongs to it."""
        started = time.monotonic()
        self._export()
        assert self.history is not None
        state = {
            "identity": self.identity,
            "phase": self.phase,
            "seconds_per_step": self.seconds_per_step,
            "pretraining_ends": self.pretraining_ends,
            "capacity": self.capacity,
            "export_seconds": self.budget.export_seconds,
            "learner": self.learner.state_dict(),
            "record": vars(self.record),
            "rows": self.history.rows,
        }
        checkpoint.save(self.folder.checkpoint, state)
        self.last_checkpoint = time.monotonic()
        self.checkpoint_seconds = self.last_checkpoint - started

    def _note_seconds(self) -> None:
        """Notes the seconds spent, so that a kill doesn't make those behind a checkpoint free."""
        self.last_noted = time.monotonic()
        if not self.team.leads:
            return
        new = self.folder.seconds.with_name(f"{TEMPORARY_PREFIX}{self.folder.seconds.name}")
        # Not synchronised with the disk: a killed process loses nothing that it has written.
        with contextlib.suppress(OSError):
            new.write_text(f"{self.budget.spent:.3f}\n")
            new.replace(self.folder.seconds)

    def _keep_snapshot(self) -> None:
        """Exports the representation of a step that `snapshot_every` asks for."""
        step, every = self.learner.step_count, self.recipe.snapshot_every
        if every is not None and self.phase == TRAINING and step % every == 0:
            snapshot = RunFolder(self.folder.snapshots / str(step))
            self._spare_disk(lambda: export(self.learner.model, snapshot))

    def _spare_disk(self, write: Callable[[], None]) -> None:
        """Writes something that training can do without: a full disk then costs a warning."""
        if not self.team.leads:
            return
        try:
            write()
        except UserError as error:
            if not out_of_room(error):
                raise
            self._warn(f"{error}; training goes on")
            self.last_checkpoint = time.monotonic()

    def _warn(self, text: str) -> None:
        if text not in self.record.warnings:
            self.record.warnings.append(text)
            self._note(f"warning: {text}")

    def _note(self, text: str) -> None:
        if self.team.leads:
            self.display.note(text)


def pretraining_settings() -> dict[str, str]:
    """The settings, by name, that decide the pre-trained weights, up to rounding.

    All settings but those of training alone: the methods of a seed share the weights, since a
    method's own settings count only where pre-training reaches them, as by
    `pretraining.objective = @beta_vae`.
    """
    bound = _all_settings() | {f"trainer.{name}": repr(v) for name, v in vars(Recipe()).items()}
    unread = {"scoring", "discriminator", *methods()}
    while True:
        read = {
            name: value
            for name, value in bound.items()
            if name not in _NOT_OF_PRETRAINING and name.split(".")[0] not in unread
        }
        reached = references(read.values()) & unread
        if not reached:
            return read
        unread -= reached


def _spares_weights(setting: str) -> bool:
    """Whether a killed run may go on with another value of the setting."""
    return setting == "trainer.budget" or setting.startswith("scoring.")


def _layers() -> list[str]:
    """The names of the networks' tensors: weights of other networks can't be read into these."""
    return list(VAE(NetworkShape(image_channels=1, width=0.0)).state_dict())


def _all_settings() -> dict[str, str]:
    return operative({selector.split(".")[-1] for (_, selector) in gin.config._CONFIG})


def _read_seconds(path: Path) -> float:
    """The seconds that `_Run._note_seconds` noted last; 0 if there are none."""
    try:
        seconds = float(path.read_text())
    except (OSError, ValueError):
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


@torch.inference_mode()
def _latent_statistics(model: VAE, request: Request) -> tuple[list[float], ...]:
    """KL in nats, standard deviation, and variance of the mean, of each latent's posterior.

    All over a fixed sample of images; the standard deviation is averaged over them.
    """
    kl, deviation, mean = [], [], []
    for part in np.array_split(_sample(request.dataset), 8):
        images = torch.from_numpy(part).permute(0, 3, 1, 2)
        posterior = Posterior(*model.encoder(images.to(request.device)))
        kl.append(kl_to_prior(posterior))
        deviation.append(torch.exp(0.5 * posterior.log_variance))
        mean.append(posterior.mean)
    variance = torch.cat(mean).var(0)
    return torch.cat(kl).mean(0).tolist(), torch.cat(deviation).mean(0).tolist(), variance.tolist()


def _sample(dataset: Dataset) -> np.ndarray:
    """A fixed random sample of images, float32 `[1024, 64, 64, channels]` in [0, 1]."""
    generator = np.random.RandomState(0)
    indices = np.sort(generator.randint(len(dataset.images), size=_SAMPLE_IMAGES))
    return dataset.observe(indices, generator)
