"""The folder of one run: what lies where, and who may write there."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from submission.errors import UserError
from submission.runs.locks import lock, open_lock
from submission.runs.record import read_record

_REMEDY = "set AICROWD_OUTPUT_PATH to a folder of yours"


@dataclass(frozen=True)
class RunFolder:
    """The files of one run: `$AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME`.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def representation(self) -> Path:
        """The folder that the challenge scores."""
        return self.path / "representation"

    @property
    def model(self) -> Path:
        """The exported encoder: TorchScript, images to posterior means."""
        return self.representation / "pytorch_model.pt"

    @property
    def training(self) -> Path:
        """What training leaves beside the representation."""
        return self.path / "training"

    @property
    def decoder(self) -> Path:
        """The decoder: TorchScript, latents to images."""
        return self.training / "decoder.pt"

    @property
    def checkpoint(self) -> Path:
        """All that a killed run needs to go on."""
        return self.training / "checkpoint.pt"

    @property
    def seconds(self) -> Path:
        """The seconds that the run has spent of its budget and its clock, noted once a second."""
        return self.training / "seconds_spent"

    @property
    def history(self) -> Path:
        """The losses by step, as CSV."""
        return self.training / "history.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.training / "tensorboard"

    @property
    def snapshots(self) -> Path:
        """Representations of earlier steps, each in a folder like the run's, named by the step."""
        return self.training / "snapshots"

    @property
    def record(self) -> Path:
        """What was run and how it went, as JSON."""
        return self.training / "run.json"

    @property
    def self_scores(self) -> Path:
        """The scores by step that training gave itself, as CSV."""
        return self.training / "scores.csv"

    @property
    def self_scored(self) -> Path:
        """What training scored of itself, each in a folder like the run's, named by the step."""
        return self.training / "scoring"

    @property
    def scores(self) -> Path:
        """The scores, as JSON."""
        return self.path / "scores.json"

    @property
    def metrics(self) -> Path:
        """The scores as the challenge's own evaluator left them, a folder for each metric."""
        return self.path / "metrics"

    def evaluation(self, metric: str) -> Path:
        """The values of one metric, with the keys that disentanglement_lib writes; as JSON."""
        return self.metrics / metric / "results" / "aggregate" / "evaluation.json"

    @property
    def report(self) -> Path:
        """The page that shows the run."""
        return self.path / "report.html"

    def is_worth_keeping(self) -> bool:
        """Whether a run of this folder got further than its first export."""
        if self.checkpoint.exists():
            return True
        if not self.record.exists():
            return False
        try:
            return read_record(self.record).get("status") not in ("running", "untrained")
        except UserError:
            return True


@contextlib.contextmanager
def exclusive(folder: RunFolder) -> Iterator[None]:
    """Holds the run's folder for this process.

    Raises:
        UserError: Another process holds it, or it can't be written.
    """
    path = folder.path.parent / f".{folder.path.name}.lock"
    with open_lock(path, folder.path, _REMEDY) as file:
        if not lock(file):
            raise UserError(f"{folder.path} is in use by another run: choose another --name")
        yield


def set_aside(folder: RunFolder) -> Path:
    """Moves an earlier run out of the way, so that nothing that took hours is lost.

    Returns:
        Where it is now: the same name with the first free number.
    """
    number = 1
    while (other := folder.path.with_name(f"{folder.path.name}.{number}")).exists():
        number += 1
    folder.path.rename(other)
    return other


def check_room(folder: RunFolder, bytes_needed: int) -> None:
    """Refuses to start a run where it can't be written, or whose checkpoints won't fit.

    Raises:
        UserError: The folder is another's or read-only, or less than `bytes_needed` is free.
    """
    existing = folder.path.parent
    while not existing.exists():
        existing = existing.parent
    if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"{existing} can't be written: {_REMEDY}")
    free = shutil.disk_usage(existing).free
    if free < bytes_needed:
        raise UserError(
            f"no room on the disk for {folder.path}: {free / 2**20:.0f} MiB are free, "
            f"{bytes_needed / 2**20:.0f} MiB are needed"
        )
