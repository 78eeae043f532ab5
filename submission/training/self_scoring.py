"""Scores during training, against the step: what the paper's Figures 7 and 8 are drawn from.

The evaluator runs beside the steps, as a process of low priority with one thread, on a snapshot of
the representation. Training reads its result when it happens to be there, so the
weights are the same with and without it.
"""

import csv
import math
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass

from submission.budget import Budget, parse_duration
from submission.command_line import EXIT_USER_ERROR
from submission.errors import UserError
from submission.networks import VAE
from submission.runs.files import UnreadableError
from submission.runs.folder import RunFolder
from submission.runs.history import History, Row
from submission.runs.processes import last_line, start_in_background
from submission.runs.scores import read_scores
from submission.training.export import ExportError, export
from submission.training.recipe import Scoring

# The evaluator's: one thread.
_ENVIRONMENT = {
    # A snapshot is no run of its own.
    "MLFLOW_TRACKING_URI": "",
    "WANDB_PROJECT": "",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}
_LOG = "evaluator.log"
_CPU_SECONDS = "scoring_cpu_seconds"


@dataclass
class _Child:
    """A running evaluator.

    Attributes:
        process: The process.
        folder: The snapshot's folder, which gets the scores.
        row: The history's row of the snapshot's step.
        started: The budget's seconds when the snapshot was begun.
        snapshot_seconds: What the snapshot took.
        cpu_limit: CPU seconds after which the kernel ends the process.
    """

    process: subprocess.Popen[bytes]
    folder: RunFolder
    row: Row
    started: float
    snapshot_seconds: float
    cpu_limit: int


class SelfScorer:
    """Scores snapshots of one run, never two at once.

    The scores stand in `training/scores.csv`: the history's columns at the snapshot's step, the
    metrics, their sum and the CPU seconds that they took. TensorBoard shows them as a run of its
    own. Each snapshot stays in `training/scoring/<step>/`, a folder like the run's own.

    Args:
        scoring: The settings.
        folder: The run's folder.
        dataset: The data set's name, or the path of one's own.
        budget: The run's budget.
        warn: Takes a line on what went wrong; nothing that goes wrong here ends the run.
    """

    def __init__(
        self,
        scoring: Scoring,
        folder: RunFolder,
        dataset: str,
        budget: Budget,
        warn: Callable[[str], None],
    ) -> None:
        self._every = parse_duration(scoring.every, "scoring.every") if scoring.every else None
        self._share = scoring.share
        self._settings = scoring.settings
        self._folder = folder
        self._dataset = dataset
        self._budget = budget
        self._warn = warn
        self._child: _Child | None = None
        self._history: History | None = None
        self._spent = 0.0
        self._due = 0.0
        # What the last scoring cost, and how long it took.
        self._cost = 0.0
        self._seconds = 0.0

    def poll(self, model: VAE, row: Row) -> None:
        """Notes the scores of a snapshot that is done, and takes the next one when it is due.

        Args:
            model: The VAE as it is now.
            row: The history's row of this step.
        """
        if self._every is None:
            return
        if self._history is None:
            self._open(row["step"])
            self._due = self._budget.spent + self._every
        self._collect()
        if self._child is None and self._may_start():
            self._start(model, row)

    def finish(self, may_wait: Callable[[], bool]) -> None:
        """Waits for a snapshot's scores as long as it may, then ends the evaluator.

        Args:
            may_wait: Whether there is time left.
        """
        while self._child is not None and may_wait():
            time.sleep(0.1)
            self._collect()
        self.stop()

    def stop(self) -> None:
        """Ends a running evaluator, whose snapshot stays unscored."""
        if self._child is not None:
            self._child.process.kill()
            self._child.process.wait()
            self._child = None
        if self._history is not None:
            self._history.close()
            self._history = None

    def _open(self, step: int) -> None:
        """Goes on with the scores of a resumed run that it had by this step."""
        path = self._folder.self_scores
        rows: list[Row] = []
        if path.exists():
            with path.open() as file:
                rows = [_parsed(row) for row in csv.DictReader(file)]
        rows = [row for row in rows if row["step"] < step]
        self._spent = sum(row[_CPU_SECONDS] for row in rows)
        self._history = History(path, self._folder.tensorboard / "scores", rows)

    @property
    def _allowance(self) -> float:
        """CPU seconds that the share still allows."""
        return self._share * self._budget.seconds - self._spent

    def _may_start(self) -> bool:
        return (
            self._budget.spent >= self._due
            and self._allowance >= max(1.0, self._cost)
            and self._budget.left > self._seconds
        )

    def _start(self, model: VAE, row: Row) -> None:
        started, clock = self._budget.spent, time.monotonic()
        snapshot = RunFolder(self._folder.self_scored / str(row["step"]))
        shutil.rmtree(snapshot.path, ignore_errors=True)
        try:
            export(model, snapshot)
            seconds = time.monotonic() - clock
            # What a snapshot takes is the share's too, and less than a second is no limit.
            cpu_limit = max(1, int(self._allowance - seconds))
            process = start_in_background(
                "evaluator",
                self._arguments(snapshot),
                snapshot.path / _LOG,
                _ENVIRONMENT,
                cpu_seconds=cpu_limit,
                niceness=_niceness(self._share),
            )
        except (UserError, ExportError, OSError) as error:
            self._warn(f"training could not score itself: {error}")
            self._due = started + (self._every or 0.0)
            return
        self._child = _Child(process, snapshot, row, started, seconds, cpu_limit)

    def _arguments(self, snapshot: RunFolder) -> list[str]:
        settings = [part for setting in self._settings for part in ("--gin", setting)]
        return [
            *(str(snapshot.representation), "--engine", "fast", "--no-report"),
            *("--dataset", self._dataset, "--output", str(snapshot.path), *settings),
        ]

    def _collect(self) -> None:
        """Notes the scores of an evaluator that has ended."""
        child = self._child
        if child is None:
            return
        before = _cpu_seconds_of_children()
        code = child.process.poll()
        if code is None:
            return
        self._child = None
        cpu_seconds = _cpu_seconds_of_children() - before
        self._cost = cpu_seconds + child.snapshot_seconds
        self._seconds = self._budget.spent - child.started
        self._spent += self._cost
        self._due = child.started + max(self._every or 0.0, self._cost / self._share)
        if code == 0:
            self._note(child)
        elif code == -signal.SIGKILL and cpu_seconds > child.cpu_limit - 1:
            self._warn(
                f"the share of the budget that scoring.share = {self._share:g} gives is used up: "
                "training no longer scores itself; lower the sample sizes with scoring.settings"
            )
        else:
            if code == EXIT_USER_ERROR:
                # The same mistake would come back each time.
                self._every = None
            log = child.folder.path / _LOG
            said = last_line(log) or "the evaluator said nothing"
            self._warn(f"training could not score itself: {said} (see {log})")

    def _note(self, child: _Child) -> None:
        assert self._history is not None
        try:
            result = read_scores(child.folder.scores)
            scores = {**result.scores, "sum": result.sum, _CPU_SECONDS: self._cost}
            self._history.add(child.row | scores)
            self._history.write()
        except (UserError, OSError, UnreadableError) as error:
            self._warn(f"training's own scores could not be kept: {error}")


def _niceness(share: float) -> int:
    """The priority that gets this share of a core which the steps keep busy, 19 at the lowest.

    Linux weighs a process 1.25 times less for each unit (kernel/sched/core.c).
    """
    if share >= 0.5:
        return 0
    return min(19, round(math.log((1 - share) / share, 1.25)))


def _cpu_seconds_of_children() -> float:
    """Of those that have ended and been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _parsed(row: dict[str, str]) -> Row:
    numbers = {name: float(text) for name, text in row.items() if text and name != "phase"}
    return {"phase": row["phase"], **numbers, "step": int(row["step"])}
