"""Does what is missing of one run: trains it, scores what it ended with, scores its snapshots."""

import re
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from study.folder import Stopped, StudyFolder, sole_worker
from study.run.jobs import Job
from submission.command_line import EXIT_DONE, EXIT_USER_ERROR
from submission.environment import Environment
from submission.errors import UserError, no_room
from submission.runs.files import TEMPORARY_PREFIX, UnreadableError, out_of_room
from submission.runs.folder import RunFolder
from submission.runs.processes import end, last_line, start
from submission.runs.record import read_record
from submission.runs.scores import read_scores

_SECONDS_BETWEEN_LOOKS = 0.1
# So little is left on a disk that a program could not even write why it ended.
_NO_ROOM_BYTES = 2**20
_TAIL_BYTES = 4096
_STEP = re.compile(rb"step (\d+/\d+)")

# What the libraries of a run, NumPy's, Numba's and PyTorch's, take their number of threads from.
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class RunFailed(Exception):
    """A run's process died; the message says in one line how. A further attempt may do better."""


def never() -> bool:
    """What never stops the work."""
    return False


def execute(
    job: Job,
    folder: StudyFolder,
    gpu: str | None = None,
    stopping: Callable[[], bool] = never,
) -> None:
    """Does what is missing of a run, once; what was interrupted goes on where it stood.

    The processes that it starts end with this one, whatever ends it.

    Args:
        job: The run.
        folder: The study's folder, on a disk that all machines share.
        gpu: The GPU, as `CUDA_VISIBLE_DEVICES` names it; None trains on the processor.
        stopping: Whether to stop: the trainer then saves its state.

    Raises:
        RunFailed: A process died.
        Stopped: It was told to stop.
        UserError: Something that only a person can mend: a full disk, a damaged file.
    """
    try:
        with sole_worker(folder, job.name, stopping) as lock:
            run = folder.run(job.name)
            for leftover in run.path.rglob(f"{TEMPORARY_PREFIX}*"):
                leftover.unlink()
            do = partial(_run, _environment(job, folder, gpu), lock, stopping)
            if not is_trained(run):
                do("submission", _training(job), run.path / "training.log")
                _check_trained(run)
            for scored in _unscored(job, run):
                do("evaluator", _scoring(job, scored), scored.path / "scoring.log")
    except OSError as error:
        if out_of_room(error):
            raise UserError(no_room(error.filename or folder.path)) from error
        raise UserError(f"{folder.run(job.name).path} can't be used ({error})") from error


def is_done(job: Job, folder: StudyFolder) -> bool:
    """Whether nothing is missing of a run.

    Raises:
        UserError: A file of the run can't be read.
    """
    run = folder.run(job.name)
    return is_trained(run) and not any(_unscored(job, run))


def is_trained(run: RunFolder) -> bool:
    """Whether a run's training came to its end.

    Raises:
        UserError: The record can't be read.
    """
    # The checkpoint is removed when everything else has been written.
    return _record(run).get("status") == "finished" and not run.checkpoint.exists()


def progress(job: Job, folder: StudyFolder) -> str:
    """How far a run is, in a few words."""
    run = folder.run(job.name)
    log = run.path / "training.log"
    try:
        if is_trained(run):
            return "scoring"
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            steps = _STEP.findall(file.read())
    except (OSError, UserError):
        return "waiting"
    return f"step {steps[-1].decode()}" if steps else "starting"


def _unscored(job: Job, run: RunFolder) -> Iterator[RunFolder]:
    """What has no scores yet, of a trained run and its snapshots; each is scored like a run."""
    if job.pretraining or not job.metrics:
        return
    for scored in (run, *_snapshots(job, run)):
        if not set(job.metrics) <= _scores(run, scored).keys():
            yield scored


def _snapshots(job: Job, run: RunFolder) -> list[RunFolder]:
    """The snapshots that training was to leave, by step; the run itself is that of the last step.

    Raises:
        UserError: One is missing, or the record doesn't tell how many there are.
    """
    if job.snapshot_every is None:
        return []
    record = _record(run)
    if "steps" not in record:
        raise UserError(
            f"{run.record} tells no number of steps: remove {run.path} and it is trained anew"
        )
    snapshots = []
    for step in range(0, record["steps"], job.snapshot_every):
        snapshots.append(RunFolder(run.snapshots / str(step)))
        if not snapshots[-1].model.exists():
            raise UserError(
                f"{snapshots[-1].model} is missing, as after a full disk: "
                f"remove {run.path} and it is trained anew"
            )
    return snapshots


def _check_trained(run: RunFolder) -> None:
    """Refuses what training may leave although it ended well."""
    record = _record(run)
    if record.get("status") != "finished":
        raise RunFailed(f"training ended {record.get('status')}: {record.get('message')}")


def _record(run: RunFolder) -> dict[str, Any]:
    """What a run's training recorded; empty where there is none yet."""
    try:
        return read_record(run.record)
    except UserError as error:
        raise UserError(f"{error}, or remove {run.path} and it is done anew") from error


def _scores(run: RunFolder, scored: RunFolder) -> dict[str, float]:
    """The scores of a run or of a snapshot of it; empty where there are none yet."""
    try:
        return read_scores(scored.scores).scores
    except FileNotFoundError:
        return {}
    except (NotADirectoryError, UnreadableError) as error:
        raise UserError(
            f"{scored.scores} can't be read ({error}): remove {run.path} and it is done anew"
        ) from error


def _training(job: Job) -> list[str]:
    settings = [part for binding in job.bindings for part in ("--gin", binding)]
    return [
        *("--method", job.method, "--dataset", job.dataset, "--preset", job.preset),
        *("--name", job.name, *settings),
    ]


def _scoring(job: Job, scored: RunFolder) -> list[str]:
    settings = [part for binding in job.evaluation for part in ("--gin", binding)]
    return [
        *(str(scored.representation), "--dataset", job.dataset, "--output", str(scored.path)),
        *("--metrics", *job.metrics, *settings, "--no-report"),
    ]


def _environment(job: Job, folder: StudyFolder, gpu: str | None) -> dict[str, str]:
    variables = {
        "AICROWD_OUTPUT_PATH": str(folder.runs),
        "AICROWD_IS_GRADING": "",
        "DISENTANGLEMENT_LIB_DATA": str(Environment.read().data_root.absolute()),
    }
    if job.threads:
        variables |= dict.fromkeys(_THREAD_VARIABLES, str(job.threads))
    if gpu is None:
        return variables | {"AICROWD_CUDA": "0"}
    return variables | {"CUDA_VISIBLE_DEVICES": gpu}


def _run(
    environment: Mapping[str, str],
    lock: int,
    stopping: Callable[[], bool],
    module: str,
    arguments: Sequence[str],
    log: Path,
) -> None:
    """Runs a module to its end, or stops it."""
    if stopping():
        raise Stopped
    said_before = log.stat().st_size if log.exists() else 0
    process = start(module, arguments, log, environment, (lock,))
    try:
        while process.poll() is None:
            if stopping():
                raise Stopped
            time.sleep(_SECONDS_BETWEEN_LOOKS)
    finally:
        # On a cluster, a task is stopped by an exception that may come anywhere.
        end(process)
    if process.returncode == EXIT_DONE:
        return
    if stopping():
        raise Stopped
    # The trainer keeps what it can't go on with, and the log in it, under another name.
    reason = last_line(log, said_before)
    if process.returncode == EXIT_USER_ERROR and reason:
        raise UserError(reason)
    if shutil.disk_usage(log.parent).free < _NO_ROOM_BYTES:
        raise UserError(no_room(log.parent))
    raise RunFailed(
        f"{module} {_ending(process.returncode)}{': ' if reason else ''}{reason} (see {log})"
    )


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    killed = " (by the kernel, for want of memory?)" if code == -signal.SIGKILL else ""
    return f"was ended by {signal.Signals(-code).name}{killed}"
