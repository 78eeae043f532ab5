"""The portal's round: train in one container, score what it exported in another."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
import image
import interrupts
import results
import sandbox
import scoring
from live_log import LiveLog
from sandbox import SHARED, Job, Limits
from scoring import DATASET, Scoring

from submission.datasets import Dataset
from submission.errors import UserError
from submission.files import TEMPORARY_PREFIX
from submission.run_folder import RunFolder, set_aside

_OWN_LOG = "container.log"
# What is written here after training; a submission's own files of these names would be in the way.
_OURS = (_OWN_LOG, "scoring.log", "scores.json", "metrics", "report.html")

_REPORT = """
import shutil, sys
from pathlib import Path
from evaluator.report import write_report
from submission import datasets
unread = shutil.ignore_patterns("checkpoint*", "tensorboard")
shutil.copytree("/RUN", "/tmp/run/" + sys.argv[2], ignore=unread)
page = write_report(Path("/tmp/run", sys.argv[2]), datasets.load(sys.argv[1]))
Path("/SHARED/report").mkdir()
shutil.copy(page, "/SHARED/report")
"""


@dataclass(frozen=True)
class Round:
    """A submission to simulate.

    Attributes:
        image: The image's name or id.
        arguments: What the entry point gets; the portal gives nothing.
        name: The evaluation's name, and the run's folder.
        dataset: The data set, already in `data_root`.
        data_root: The folder of the data sets.
        output: The folder of the runs.
        gpu: Whether training gets a GPU.
        training: What training may use.
        scoring: What scoring may use.
    """

    image: str
    arguments: Sequence[str]
    name: str
    dataset: Dataset
    data_root: Path
    output: Path
    gpu: bool
    training: Limits
    scoring: Limits


def simulate(client: docker.DockerClient, one: Round) -> None:
    """Trains and scores as the portal did; the run's folder then holds all of it.

    A submission that is killed is scored by its last export.

    Args:
        client: The engine.
        one: The submission.

    Raises:
        UserError: The submission exported nothing, was refused, or had to be stopped in scoring.
        RuntimeError: Training or scoring failed.
    """
    image.get(client, one.image)
    one.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=one.output) as temporary:
        staging = Path(temporary)
        run = staging / "run"
        run.mkdir()
        failure = _train(client, one, staging, run)
        _put(one.output / one.name, run)
    folder = RunFolder(one.output / one.name)
    print(f"scores: {_score(client, one, folder)}", flush=True)
    try:
        print(f"report: {_report(client, one, folder)}", flush=True)
    except (UserError, RuntimeError) as error:
        print(f"no report: {error}", flush=True)
    if failure:
        raise RuntimeError(failure)


def _train(client: docker.DockerClient, one: Round, staging: Path, run: Path) -> str:
    """Trains; returns what went wrong although there is something to score, else ""."""
    limits = one.training
    log_file = staging / _OWN_LOG
    with (
        sandbox.output(client, one.image, limits.output) as shared,
        LiveLog("training", limits.seconds, log_file, limits.printed) as log,
    ):
        job = Job(
            title="training",
            image=one.image,
            arguments=one.arguments,
            environment={
                "AICROWD_IS_GRADING": "1",
                "AICROWD_OUTPUT_PATH": SHARED,
                "AICROWD_EVALUATION_NAME": one.name,
                "AICROWD_DATASET_NAME": one.dataset.name,
                "AICROWD_CUDA": str(int(one.gpu)),
                "DISENTANGLEMENT_LIB_DATA": DATASET,
                "NDC_ROOT": "/home/aicrowd",
            },
            mounts=results.data_set_mounts(one.data_root, DATASET, one.dataset),
            gpu=one.gpu,
        )
        ending = sandbox.run(client, job, shared, limits, log)
        results.take(shared, one.name, run, limits.output)
    for name in _OURS:
        if (run / name).is_dir():
            shutil.rmtree(run / name)
        (run / name).unlink(missing_ok=True)
    log_file.replace(run / _OWN_LOG)
    exported = any(path.is_file() for path in (run / "representation").rglob("*"))
    if not exported:
        scoring.check(ending, "training", log)
        raise UserError(
            f"the submission wrote nothing to representation/ in {SHARED}/{one.name} "
            "($AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME): export there"
        )
    if ending.stopped:
        print(f"training: the submission {ending.stopped}; its last export is scored", flush=True)
        return ""
    if ending.exit_code:
        failure = f"training ended with exit code {ending.exit_code}"
        print(f"{failure}; its last export is scored", flush=True)
        return failure
    return ""


def _score(client: docker.DockerClient, one: Round, folder: RunFolder) -> Path:
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.path) as temporary:
        place = Path(temporary)
        task = Scoring(
            image=one.image,
            representation=folder.representation,
            dataset=one.dataset,
            data_root=one.data_root,
            arguments=[],
            limits=one.scoring,
        )
        scoring.score(client, task, place)
        return move_scores(place, folder.path)


def _report(client: docker.DockerClient, one: Round, folder: RunFolder) -> Path:
    """Draws the report in a third container: it runs the submission's decoder."""
    with tempfile.TemporaryDirectory(prefix=TEMPORARY_PREFIX, dir=folder.path.parent) as temporary:
        place = Path(temporary)
        with (
            results.readable_copy(folder.path, one.training.output) as copy,
            sandbox.output(client, one.image, one.scoring.output) as shared,
            LiveLog("report", one.scoring.seconds, place / "log.txt", one.scoring.printed) as log,
        ):
            job = Job(
                title="report",
                image=one.image,
                entrypoint=["python", "-c", _REPORT],
                arguments=[one.dataset.name, one.name],
                environment={"DISENTANGLEMENT_LIB_DATA": DATASET, "AICROWD_CUDA": "0"},
                mounts={
                    "/RUN": copy,
                    **results.data_set_mounts(one.data_root, DATASET, one.dataset),
                },
            )
            ending = sandbox.run(client, job, shared, one.scoring, log)
            scoring.check(ending, "report", log)
            results.take(shared, "report", place, one.scoring.output)
        return (place / "report.html").replace(folder.path / "report.html")


def move_scores(place: Path, folder: Path) -> Path:
    """Moves what scoring left into a run's folder; returns the path of `scores.json` there."""
    shutil.rmtree(folder / "metrics", ignore_errors=True)
    shutil.move(place / "metrics", folder / "metrics")
    shutil.move(place / "log.txt", folder / "scoring.log")
    return (place / "scores.json").replace(folder / "scores.json")


def _put(folder: Path, run: Path) -> None:
    """Puts a run in its place; an earlier one of the same name is kept."""
    with interrupts.shielded():
        if folder.exists():
            print(f"an earlier run of this name was kept as {set_aside(RunFolder(folder))}")
        run.replace(folder)
