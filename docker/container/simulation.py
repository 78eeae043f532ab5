"""The portal's round: train in one container, score what it exported in another."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
from docker.types import DeviceRequest

from container import interrupts, ownership, results, sandbox, scoring
from container.live_log import LiveLog
from container.sandbox import SHARED, Ending, Job, Limits, Output, Supervision
from container.scoring import DATASET, Scoring
from submission.budget import format_duration, parse_duration
from submission.command_line import Parser
from submission.configuration import presets
from submission.datasets import Dataset
from submission.errors import UserError
from submission.installation import GIN_FOLDER
from submission.runs.folder import RunFolder, exclusive, set_aside

_OWN_LOG = "container.log"
# What is written here after training; a submission's own files of these names would be in the way.
_OURS = (_OWN_LOG, "scoring.log", "scores.json", "metrics", "report.html")


@dataclass(frozen=True)
class Round:
    """A submission to simulate.

    Attributes:
        image: The name or id of the image that trains.
        scorer: The id of the image that scores and draws the report.
        arguments: What the entry point gets; the portal gives nothing.
        name: The evaluation's name, and the run's folder.
        dataset: The data set, already in `data_root`.
        data_root: The folder of the data sets.
        output: The folder of the runs.
        gpu: What to ask of the engine for training's GPU; None for none.
        save_every: Seconds from one copy of what training has written to the next.
        training: What training may use.
        scoring: What scoring may use.
    """

    image: str
    scorer: str
    arguments: Sequence[str]
    name: str
    dataset: Dataset
    data_root: Path
    output: Path
    gpu: DeviceRequest | None
    save_every: float
    training: Limits
    scoring: Limits


def simulate(client: docker.DockerClient, one: Round) -> None:
    """Trains and scores as the portal did; the run's folder then holds all of it.

    A submission that is killed is scored by its last export. What training has written is copied
    out from time to time, to the run's folder with `.unfinished` behind its name; of a process that
    is killed, or of an engine that goes away, that remains.

    Args:
        client: The engine.
        one: The submission.

    Raises:
        UserError: The submission exported nothing, was refused, or had to be stopped in scoring; or
            another process simulates one of this name.
        RuntimeError: Training or scoring failed.
        KeyboardInterrupt: A person wished it. Training ended as if its time was up; the message
            says where it is kept.
    """
    folder = RunFolder(one.output / one.name)
    with exclusive(folder):
        _recover(folder)
        ending, failure = _train(client, one, folder)
        kept = f"{folder.path} is kept; python docker/portal.py score {folder.representation}"
        if ending.requested:
            raise KeyboardInterrupt(f"interrupted: {kept} scores it")
        try:
            if one.dataset.no_scores:
                print(f"no scores: {one.dataset.no_scores}", flush=True)
            else:
                print(f"scores: {_score(client, one, folder)}", flush=True)
            try:
                print(f"report: {_report(client, one, folder)}", flush=True)
            except (UserError, RuntimeError) as error:
                print(f"no report: {error}", flush=True)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted: {kept} scores it") from None
    if failure:
        raise RuntimeError(failure)


def tell_early_end(arguments: Sequence[str], seconds: float) -> None:
    """Warns where the wall clock ends training before its budget.

    Args:
        arguments: Training's; the budget is theirs, or that of the preset that they name.
        seconds: The wall clock.

    Raises:
        UserError: The budget is no duration.
    """
    parser = Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("--budget")
    parser.add_argument("--preset")
    given, _ = parser.parse_known_args(arguments)
    budget = given.budget
    if budget is None and given.preset in presets():
        settings = (GIN_FOLDER / "presets" / f"{given.preset}.gin").read_text()
        # Reading it as training does would import PyTorch.
        found = re.search(r"^trainer\.budget = '(.+)'$", settings, re.MULTILINE)
        budget = found and found[1]
    if budget and parse_duration(budget, "--budget") > seconds:
        print(
            f"warning: training is ended after {format_duration(seconds)}, before its budget of "
            f"{budget}; `python docker/portal.py simulate --time-limit {budget} -- OPTIONS` lets "
            "it use that",
            flush=True,
        )


def _unfinished(folder: RunFolder) -> Path:
    return folder.path.with_name(f"{folder.path.name}.unfinished")


def _recover(folder: RunFolder) -> None:
    """Puts the last copy that a killed simulation made in the run's place."""
    copy = _unfinished(folder)
    if copy.exists():
        print(f"of a simulation that was killed, the last copy is kept as {folder.path}")
        _put(folder, copy)


def _train(client: docker.DockerClient, one: Round, folder: RunFolder) -> tuple[Ending, str]:
    """Trains, and puts what was written in the run's folder.

    Returns:
        How it ended, and what went wrong although there is something to score, else "".
    """
    try:
        with ownership.temporary_folder(one.output) as staging:
            run = staging / "run"
            run.mkdir()
            ending, failure = _train_in_container(client, one, folder, staging)
            _put(folder, run)
    except BaseException:
        if _unfinished(folder).exists():
            print(f"its last copy while it trained is {_unfinished(folder)}", flush=True)
        raise
    shutil.rmtree(_unfinished(folder), ignore_errors=True)
    return ending, failure


def _train_in_container(
    client: docker.DockerClient, one: Round, folder: RunFolder, staging: Path
) -> tuple[Ending, str]:
    limits = one.training
    log_file = staging / _OWN_LOG
    run = staging / "run"
    with (
        sandbox.output(client, one.image, limits.output, limits.seconds) as shared,
        LiveLog("training", limits.seconds, log_file, limits.printed) as log,
        interrupts.requested() as request,
    ):
        job = Job(
            title="training",
            image=one.image,
            arguments=one.arguments,
            environment={
                "AICROWD_IS_GRADING": "1",
                "AICROWD_OUTPUT_PATH": SHARED,
                "AICROWD_EVALUATION_NAME": one.name,
                "AICROWD_DATASET_NAME": results.address_in(DATASET, one.dataset),
                "AICROWD_CUDA": str(int(one.gpu is not None)),
                "DISENTANGLEMENT_LIB_DATA": DATASET,
                "NDC_ROOT": "/home/aicrowd",
            },
            mounts=results.data_set_mounts(one.data_root, DATASET, one.dataset),
            volumes=[shared.volume],
            gpu=one.gpu,
        )

        def save() -> None:
            _copy(shared, one, log_file, folder)

        supervision = Supervision(request, save, one.save_every)
        ending = sandbox.run(client, job, limits, log, supervision)
        results.take(shared, one.name, run, limits.output)
    _place_log(run, log_file)
    if not _has_export(run):
        if ending.requested:
            raise KeyboardInterrupt("interrupted before training had exported anything")
        sandbox.check(ending, "training", log)
        raise UserError(
            f"the submission wrote nothing to representation/ in {SHARED}/{one.name} "
            "($AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME): export there"
        )
    if ending.stopped:
        scored = "" if ending.requested else "; its last export is scored"
        print(f"training: the submission {ending.stopped}{scored}", flush=True)
        return ending, ""
    if ending.exit_code:
        failure = f"training ended with exit code {ending.exit_code}"
        print(f"{failure}; its last export is scored", flush=True)
        return ending, failure
    return ending, ""


def _copy(shared: Output, one: Round, log_file: Path, folder: RunFolder) -> None:
    """Copies what training has written; a copy that can't be made is made the next time."""
    with ownership.temporary_folder(one.output) as place:
        run = place / "run"
        run.mkdir()
        try:
            results.take(shared, one.name, run, one.training.output)
        # A file may grow while it is read. What is refused is told at the end.
        except (RuntimeError, UserError, OSError):
            return
        if not _has_export(run):
            return
        shutil.copyfile(log_file, place / _OWN_LOG)
        _place_log(run, place / _OWN_LOG)
        copy = _unfinished(folder)
        if copy.exists():
            copy.rename(place / "older")
        run.rename(copy)


def _has_export(run: Path) -> bool:
    return any(path.is_file() for path in (run / "representation").rglob("*"))


def _place_log(run: Path, log_file: Path) -> None:
    for name in _OURS:
        if (run / name).is_dir():
            shutil.rmtree(run / name)
        (run / name).unlink(missing_ok=True)
    log_file.replace(run / _OWN_LOG)


def _score(client: docker.DockerClient, one: Round, folder: RunFolder) -> Path:
    with ownership.temporary_folder(one.output) as place:
        task = Scoring(
            image=one.scorer,
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
    run = f"/RUN/{one.name}"
    with ownership.temporary_folder(one.output) as place:
        with (
            results.readable_copy(folder.path, one.training.output) as copy,
            sandbox.output(client, one.scorer, one.scoring.output, one.scoring.seconds) as shared,
            LiveLog("report", one.scoring.seconds, place / "log.txt", one.scoring.printed) as log,
        ):
            job = Job(
                title="report",
                image=one.scorer,
                entrypoint=["python", "-m", "evaluator.report"],
                arguments=[
                    run,
                    *("--dataset", results.address_in(DATASET, one.dataset)),
                    *("--output", f"{SHARED}/report/report.html"),
                ],
                environment={"DISENTANGLEMENT_LIB_DATA": DATASET},
                mounts={
                    run: copy,
                    **results.data_set_mounts(one.data_root, DATASET, one.dataset),
                },
                volumes=[shared.volume],
            )
            ending = sandbox.run(client, job, one.scoring, log)
            sandbox.check(ending, "report", log)
            left = place / "left"
            left.mkdir()
            results.take(shared, "report", left, one.scoring.output)
        if not (left / "report.html").is_file():
            raise RuntimeError("the container left none")
        return (left / "report.html").replace(folder.path / "report.html")


def move_scores(place: Path, folder: Path) -> Path:
    """Moves what scoring left into a run's folder; returns the path of `scores.json` there.

    Args:
        place: Holds it, on the disk of the folder.
        folder: Earlier scores in it are replaced.
    """
    with interrupts.shielded():
        if (folder / "metrics").exists():
            (folder / "metrics").rename(place / "earlier")
        (place / "metrics").rename(folder / "metrics")
        (place / "log.txt").replace(folder / "scoring.log")
        return (place / "scores.json").replace(folder / "scores.json")


def _put(folder: RunFolder, run: Path) -> None:
    """Puts a run in its place; an earlier one of the same name is kept."""
    with interrupts.shielded():
        if folder.path.exists():
            print(f"an earlier run of this name was kept as {set_aside(folder)}")
        run.replace(folder.path)
