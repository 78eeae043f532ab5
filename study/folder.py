"""The folder of a study: what lies where, and who may work there."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from submission.errors import UserError
from submission.runs.folder import RunFolder
from submission.runs.locks import lock, open_lock

_SECONDS_BETWEEN_LOOKS = 0.5
_REMEDY = "give --output a folder of yours"


class Stopped(Exception):
    """The work was told to stop."""


@dataclass(frozen=True)
class StudyFolder:
    """The files of one study.

    Attributes:
        path: The folder.
    """

    path: Path

    @property
    def plan(self) -> Path:
        """The study's settings and its runs, as JSON."""
        return self.path / "study.json"

    @property
    def runs(self) -> Path:
        """The folders of the runs."""
        return self.path / "runs"

    @property
    def report(self) -> Path:
        """What the report is made of."""
        return self.path / "report"

    def run(self, name: str) -> RunFolder:
        """The folder of the run of this name."""
        return RunFolder(self.runs / name)


@contextlib.contextmanager
def sole_study(folder: StudyFolder) -> Iterator[None]:
    """Holds a study's folder for this process.

    Raises:
        UserError: Another process holds it, or it can't be written.
    """
    with open_lock(folder.path / ".study.lock", folder.path, _REMEDY) as file:
        if not lock(file):
            raise UserError(
                f"another `python -m study` works in {folder.path}: wait for it, or give --output"
            )
        yield


@contextlib.contextmanager
def sole_worker(folder: StudyFolder, run: str, stopping: Callable[[], bool]) -> Iterator[int]:
    """Holds a run for this process; waits while another one has it.

    That is one whose study was killed, or whose node was given up for lost, and that has not ended
    yet.

    Args:
        folder: The study's folder.
        run: The run's name.
        stopping: Whether to give up waiting.

    Yields:
        The lock's file descriptor: processes that inherit it hold the run as well.

    Raises:
        Stopped: It was told to stop.
        UserError: The folder can't be written.
    """
    with open_lock(folder.runs / f".{run}.worker.lock", folder.runs, _REMEDY) as file:
        while not lock(file):
            if stopping():
                raise Stopped
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        yield file.fileno()
