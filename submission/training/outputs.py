"""What a run writes and says while it goes on: exports, checkpoints, snapshots, rows, warnings."""

import contextlib
import math
import time
from collections.abc import Callable, Collection
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch

from submission.budget import Budget, format_duration, parse_duration
from submission.command_line import EXIT_DONE, EXIT_FAILED
from submission.errors import UserError
from submission.networks import Posterior
from submission.objectives import Terms, kl_to_prior
from submission.runs.files import TEMPORARY_PREFIX, out_of_room, remove_leftovers
from submission.runs.folder import RunFolder, set_aside
from submission.runs.history import History, Row
from submission.runs.record import Record
from submission.runs.tracking import Tracking, settings_of
from submission.training import checkpoint
from submission.training.export import ExportError, export
from submission.training.plan import Plan
from submission.training.progress import RESTARTS, Display, describe_step
from submission.training.recipe import TRAINING
from submission.training.setup import Setup
from submission.training.state import CHECKPOINT, State, begin, from_checkpoint

# A slow disk must not eat the budget: checkpoints may take this share of the time.
_CHECKPOINT_SHARE = 0.05
_SECONDS_BETWEEN_NOTES = 1.0
# The user's to mend; a loss that is not finite would not be so the next time either.
_NO_CRASH = (UserError, FloatingPointError)
# For what a tracking server has not taken at the end, which is outside of the budget.
_SECONDS_TO_TRACK = 10.0


class RunOutput:
    """The run's folder and its display; of several processes only rank 0 writes and shows.

    Args:
        setup: The run.
        budget: The run's, which learns how long an export takes.
        display: Shows the progress.
    """

    def __init__(self, setup: Setup, budget: Budget, display: Display) -> None:
        self._setup = setup
        self._budget = budget
        self._display = display
        self._folder = setup.request.folder
        self._writes = setup.request.group.is_leader
        self._history: History | None = None
        self._tracking: Tracking | None = None
        every = setup.recipe.checkpoint_every
        self._checkpoint_every = parse_duration(every, "trainer.checkpoint_every")
        self._last_checkpoint = time.monotonic()
        self._checkpoint_seconds = 0.0
        self._last_noted = -math.inf

        self._state: State | None = None
        self._warnings: list[str] = []

    def __enter__(self) -> "RunOutput":
        """Nothing is written before `resume`."""
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Exports what there is after an exception; ends history and display."""
        if self._state is not None:
            if isinstance(error, KeyboardInterrupt):
                self._give_up(self._state)
            elif isinstance(error, Exception) and not isinstance(error, UserError):
                self._end_failed(self._state, error)
        if self._history is not None:
            self._history.close()
        if self._tracking is not None:
            self._tracking.keep(self._folder.record)
            self._tracking.keep(self._folder.history)
            self._tracking.close()
        if self._writes:
            status = self._state.record.status if self._state else "failed"
            crashed = isinstance(error, Exception) and not isinstance(error, _NO_CRASH)
            most = self._setup.recipe.restarts
            if crashed and self._setup.request.supervisor.restarts_after_a_crash(most):
                status = RESTARTS
            self._display.close(status)

    # --- the beginning -----------------------------------------------------------------------

    def resume(self) -> State | None:
        """The state of a killed run of these very settings, if there is one; opens the folder.

        An earlier run with other settings is set aside.
        """
        group, folder = self._setup.request.group, self._folder
        content = self._load(folder.checkpoint, CHECKPOINT)
        # A later version's record may have fields that this one doesn't know.
        known = {one.name for one in fields(Record)}
        if content is not None and (
            content["identity"] != self._setup.identity or not content["record"].keys() <= known
        ):
            content = None
        spent, started, before = _read_note(folder.seconds)
        # What this very run has left, whose process crashed before its first checkpoint.
        ours = started == self._budget.started
        worth_keeping = content is None and not ours and folder.is_worth_keeping()
        # No process may still be reading what the leader moves out of the way.
        if group.broadcast(worth_keeping) and self._writes:
            kept = set_aside(folder)
            self.note(f"an earlier run of this name was kept as {kept}")
        if self._writes:
            folder.training.mkdir(parents=True, exist_ok=True)
            for leftovers in (folder.training, folder.representation):
                remove_leftovers(leftovers)
            rows = content["rows"] if content else None
            self._history = History(folder.history, folder.tensorboard, rows)
        if ours:
            self._budget.spent_before = before
        if content is None:
            return None
        self._state = state = from_checkpoint(self._setup, content)
        self._keep_warnings()
        if not ours:
            # Of a killed run, also what it spent behind its last checkpoint.
            self._budget.spent_before = max(state.record.seconds_spent, spent)
        self._budget.export_seconds = content["export_seconds"]
        self.note_seconds_if_due()
        self.note(
            f"resuming {state.phase} at step {state.learner.step_count}, "
            f"{format_duration(max(0.0, self._budget.left))} left"
        )
        return state

    def begin(self, plan: Plan) -> State:
        """A new state by a plan, exported where no representation of its shape is."""
        exported = self._state.plan.shape if self._state else None
        self._state = begin(self._setup, plan, self._budget.seconds)
        self._keep_warnings()
        # In place of what an earlier run of this name may have noted.
        self.note_seconds_if_due()
        if plan.shape != exported:
            self.export(self._state)
        return self._state

    def load_pretrained(self, state: State) -> bool:
        """Takes over the weights that another run pre-trained; tells whether there were any."""
        path = self._setup.pretrained(state.plan.shape)
        fresh = state.learner.step_count == 0
        weights = self._load(path, ("model", "steps")) if fresh else None
        if weights is None:
            return False
        state.learner.model.load_state_dict(weights["model"])
        state.record.pretraining_steps = weights["steps"]
        state.record.pretraining_cached = True
        self.note(f"pre-trained weights of {weights['steps']} steps read from {path}")
        return True

    # --- the folder ------------------------------------------------------------------------

    def export(self, state: State) -> None:
        """Representation, decoder, history and record, as of now."""
        if self._history is None:
            return
        started = time.monotonic()
        export(state.learner.model, self._folder)
        self._update(state)
        # The record last: it says whether the run is finished.
        self._history.write()
        state.record.write(self._folder.record)
        seconds = time.monotonic() - started
        self._budget.export_seconds = max(self._budget.export_seconds, seconds)

    def checkpoint(self, state: State) -> None:
        """An export and the checkpoint that belongs to it, if the disk has room."""
        self._spare_disk(lambda: self._checkpoint(state))

    def checkpoint_if_due(self, state: State) -> None:
        """A checkpoint each `trainer.checkpoint_every`, less often where the disk is slow."""
        pause = max(self._checkpoint_every, self._checkpoint_seconds / _CHECKPOINT_SHARE)
        if time.monotonic() - self._last_checkpoint > pause:
            self.checkpoint(state)

    def snapshot_if_due(self, state: State) -> None:
        """The representation of a step that `trainer.snapshot_every` asks for."""
        step, every = state.learner.step_count, self._setup.recipe.snapshot_every
        if every is not None and state.phase == TRAINING and step % every == 0:
            folder = RunFolder(self._folder.snapshots / str(step))
            self._spare_disk(lambda: export(state.learner.model, folder))

    def save_pretrained(self, state: State) -> None:
        """The pre-trained weights for other runs, if the disk has room."""
        content = {"model": state.learner.model.state_dict(), "steps": state.learner.step_count}
        path = self._setup.pretrained(state.plan.shape)
        self._spare_disk(lambda: checkpoint.save(path, content))

    def note_seconds_if_due(self) -> None:
        """Notes the seconds spent, so that a kill doesn't make those behind a checkpoint free."""
        if not self._writes or time.monotonic() - self._last_noted < _SECONDS_BETWEEN_NOTES:
            return
        self._last_noted = time.monotonic()
        seconds = self._folder.seconds
        new = seconds.with_name(f"{TEMPORARY_PREFIX}{seconds.name}")
        budget = self._budget
        # Not synchronised with the disk: a killed process loses nothing that it has written.
        with contextlib.suppress(OSError):
            new.write_text(f"{budget.spent:.3f} {budget.started!r} {budget.spent_before!r}\n")
            new.replace(seconds)

    # --- the end -----------------------------------------------------------------------------

    def end(self, state: State, status: str, message: str) -> Record:
        """The last export and record."""
        state.record.status, state.record.message = status, message
        if status in ("untrained", "failed"):
            self.warn(message)
        self.export(state)
        done = status in ("finished", "untrained")
        if status != "failed":
            # What is written is final, though scores may still be waited for.
            code = EXIT_DONE if done else EXIT_FAILED
            self._setup.request.supervisor.tell_end(code)
        if self._writes and done:
            self._folder.checkpoint.unlink(missing_ok=True)
            self._folder.seconds.unlink(missing_ok=True)
        return state.record

    def _give_up(self, state: State) -> None:
        """Records an end that a second signal asks for at once; the last export stays."""
        self._setup.request.supervisor.tell_end(EXIT_FAILED)
        if not self._writes:
            return
        state.record.status = "interrupted"
        state.record.message = f"a second signal ended {state.phase} without an export"
        state.record.write(self._folder.record)

    def _end_failed(self, state: State, error: Exception) -> None:
        if isinstance(error, _NO_CRASH):
            self._setup.request.supervisor.tell_end(EXIT_FAILED)
        try:
            self.end(state, "failed", f"{type(error).__name__}: {error}")
        except (ExportError, RuntimeError) as unusable:
            # Weights that are finite may still overflow, and a GPU that has failed gives none: the
            # last representation stays.
            self.warn(f"the representation is that of the last export: {unusable}")
            if self._history is not None:
                state.record.write(self._folder.record)
                self._history.write()

    def _track(self, record: Record, row: Row) -> None:
        """Logs a row; begins with the first, since imports would disturb what the plan measures."""
        if self._tracking is None:
            self._tracking = Tracking(
                self._folder.training,
                record.name,
                settings_of(record),
                _SECONDS_TO_TRACK,
                lambda line: self.note(f"warning: {line}"),
            )
        phase, step = row["phase"], row["step"]
        numbers = {name: value for name, value in row.items() if name not in ("phase", "step")}
        self._tracking.log({f"{phase}/{name}": value for name, value in numbers.items()}, step)

    # --- the display -----------------------------------------------------------------------

    def add_row(self, state: State, terms: Terms, epoch: float) -> Row:
        """Adds a row to the history; waits for the device to know the losses."""
        learner = state.learner
        row: Row = {
            "phase": state.phase,
            "step": learner.step_count,
            "seconds": self._budget.spent,
            "epoch": epoch,
            "learning_rate": learner.learning_rate,
        }
        row |= {name: float(value) for name, value in terms.items()}
        row |= {"capacity": state.capacity} if state.phase == TRAINING else {}
        if self._history is not None:
            self._history.add(row)
            self._track(state.record, row)
        return row

    def show(self, state: State, row: Row, steps_per_second: float) -> None:
        """Shows a step."""
        if not self._writes:
            return
        step, planned, left = state.learner.step_count, state.plan.steps, self._budget.left
        details = describe_step(step, planned, left, steps_per_second, row)
        self._display.update(state.phase, self._budget.spent / self._budget.seconds, details)

    def note(self, text: str) -> None:
        """Prints a line."""
        if self._writes:
            self._display.note(text)

    def warn(self, text: str) -> None:
        """Prints a warning, once, and keeps it in the record, also in one that is yet to be."""
        if text in self._warnings:
            return
        self._warnings.append(text)
        if self._state is None or text not in self._state.record.warnings:
            self.note(f"warning: {text}")
        self._keep_warnings()

    def _keep_warnings(self) -> None:
        if self._state is not None:
            kept = self._state.record.warnings
            kept.extend(text for text in self._warnings if text not in kept)

    # --- what the public methods share ------------------------------------------------------

    def _load(self, path: Path, keys: Collection[str]) -> dict[str, Any] | None:
        """A file of an earlier process, if there is one that can be used."""
        request = self._setup.request
        if not request.group.broadcast(path.exists()):
            return None
        try:
            return checkpoint.load(path, keys)
        except UserError as error:
            self.note(f"warning: {error}: its work is done anew")
            return None

    def _checkpoint(self, state: State) -> None:
        started = time.monotonic()
        self.export(state)
        assert self._history is not None
        content = {
            "identity": self._setup.identity,
            "export_seconds": self._budget.export_seconds,
            "rows": self._history.rows,
            **state.to_checkpoint(),
        }
        checkpoint.save(self._folder.checkpoint, content)
        self._last_checkpoint = time.monotonic()
        self._checkpoint_seconds = self._last_checkpoint - started

    def _spare_disk(self, write: Callable[[], None]) -> None:
        """Writes something that training can do without: a full disk then costs a warning."""
        if not self._writes:
            return
        try:
            write()
        except UserError as error:
            if not out_of_room(error):
                raise
            self.warn(f"{error}; training goes on")
            self._last_checkpoint = time.monotonic()

    def _update(self, state: State) -> None:
        record, learner = state.record, state.learner
        record.seconds_spent = round(self._budget.spent, 3)
        if state.phase == TRAINING:
            record.planned_steps = state.plan.steps
        elif not record.pretraining_cached:
            record.pretraining_steps = state.plan.steps
        record.steps = learner.step_count if state.phase == TRAINING else 0
        record.nonfinite_steps = int(learner.skipped)
        statistics = self._latent_statistics(state)
        record.kl_per_latent, record.posterior_std_per_latent = statistics[:2]
        record.posterior_mean_variance_per_latent = statistics[2]

    @torch.inference_mode()
    def _latent_statistics(self, state: State) -> tuple[list[float], ...]:
        """KL in nats, standard deviation, and variance of the mean, of each latent's posterior.

        All over a fixed sample of images; the standard deviation is averaged over them. Empty
        where one overflows, as of weights that explode: JSON has no infinity.
        """
        kl, deviation, mean = [], [], []
        for part in np.array_split(self._setup.sample, 8):
            images = torch.from_numpy(part).permute(0, 3, 1, 2).to(self._setup.request.device)
            posterior = Posterior(*state.learner.model.encoder(images))
            kl.append(kl_to_prior(posterior))
            deviation.append(torch.exp(0.5 * posterior.log_variance))
            mean.append(posterior.mean)
        statistics = torch.cat(kl).mean(0), torch.cat(deviation).mean(0), torch.cat(mean).var(0)
        return tuple(one.tolist() if one.isfinite().all() else [] for one in statistics)


def _read_note(path: Path) -> tuple[float, float | None, float]:
    """What `RunOutput.note_seconds_if_due` noted last.

    Returns:
        The seconds spent, and two that an earlier version didn't note: when the clock of that
        process was started, by which it is known, and the seconds spent before.
    """
    try:
        seconds, *rest = map(float, path.read_text().split())
    except (OSError, ValueError):
        return 0.0, None, 0.0
    if not math.isfinite(seconds):
        return 0.0, None, 0.0
    return (seconds, rest[0], rest[1]) if len(rest) == 2 else (seconds, None, 0.0)
