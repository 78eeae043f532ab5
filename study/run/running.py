"""`python -m study run`: plans a study, executes what is missing of it, and tells how it goes."""

import contextlib
import os
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import asdict
from typing import Protocol

from study.folder import Stopped, StudyFolder
from study.run.display import Display
from study.run.jobs import Job, plan
from study.run.work import RunFailed, is_done, progress
from study.settings import Study
from submission.budget import format_duration
from submission.command_line import EXIT_DONE, EXIT_FAILED
from submission.errors import UserError
from submission.interruption import Interruption
from submission.runs.files import write_json
from submission.runs.provenance import git_revision

_SECONDS_BETWEEN_LOOKS = 1.0
_GOES_ON = "stopped: the same command goes on from here"


class Workers(Protocol):
    """Where runs are executed.

    Attributes:
        count: How many there may be at once.
    """

    count: int

    def start(self, job: Job) -> Future[None]:
        """Begins a run, or goes on with it; the future's errors are those of `work.execute`."""

    def stop(self) -> None:
        """Has what is running save its state and end."""

    def close(self) -> None:
        """Waits for what is running, and lets go of it all."""


def run(study: Study, folder: StudyFolder, most: int | None, cluster: str | None) -> int:
    """Executes what is missing of a study.

    Args:
        study: The study.
        folder: Its folder, which this process holds. What other settings left there is not touched.
        most: How many runs there may be at once; None is as many as fit.
        cluster: The address of a Ray cluster; None is this machine.

    Returns:
        The exit code: 1 if a run failed or a signal came.

    Raises:
        UserError: A setting, or something on the disk, that the user has to mend.
    """
    jobs = plan(study)
    _write_plan(folder, study, jobs)
    missing = _missing(jobs, folder)
    if not missing:
        print(_all_finished(jobs, folder))
        return EXIT_DONE
    interruption = Interruption()
    interruption.install()
    display = Display()
    with contextlib.ExitStack() as stack:
        stack.callback(display.close)
        given_up = threading.Event()
        workers = _workers(
            study,
            folder,
            most,
            cluster,
            stopping=lambda: given_up.is_set() or interruption.reason is not None,
        )
        stack.callback(workers.close)
        stack.callback(workers.stop)
        stack.callback(given_up.set)
        # Ray has taken a signal over.
        interruption.install()
        display.note(f"{len(missing)} of {len(jobs)} runs are to be done in {folder.path}")
        try:
            failures = _execute(missing, folder, workers, interruption, display)
        except KeyboardInterrupt:
            # The second Ctrl-C: what was started ends with this process.
            display.close()
            display.note(_GOES_ON)
            os._exit(EXIT_FAILED)
    if interruption.reason is not None:
        print(_GOES_ON)
        return EXIT_FAILED
    if failures:
        print(f"{len(failures)} of {len(jobs)} runs failed; the same command tries them again:")
        for name, reason in failures.items():
            print(f"  {name}: {reason}")
        return EXIT_FAILED
    print(_all_finished(jobs, folder))
    return EXIT_DONE


def _write_plan(folder: StudyFolder, study: Study, jobs: Sequence[Job]) -> None:
    """Writes what a report knows of the study."""
    fields = ("name", "method", "variant", "seed", "pretraining")
    runs = [{field: getattr(job, field) for field in fields} for job in jobs]
    content = {"study": asdict(study), "runs": runs, "git_revision": git_revision()}
    write_json(folder.plan, content)


def _missing(jobs: Sequence[Job], folder: StudyFolder) -> list[Job]:
    """The runs that are not done, and the pre-training that one of them waits for."""

    def is_missing(job: Job) -> bool:
        try:
            return not is_done(job, folder)
        except UserError:
            # It fails with this line, but only once the others had their turn.
            return True

    methods = [job for job in jobs if not job.pretraining and is_missing(job)]
    wanted = {job.name for job in methods} | {job.after for job in methods}
    return [job for job in jobs if job.name in wanted and (job in methods or is_missing(job))]


def _workers(
    study: Study,
    folder: StudyFolder,
    most: int | None,
    cluster: str | None,
    stopping: Callable[[], bool],
) -> Workers:
    """The cluster, or this machine."""
    if cluster is not None:
        from study.run.cluster import Cluster

        return Cluster(folder, cluster, study.threads, most)
    from study.run.pool import Pool, local_gpus, workers_that_fit

    gpus = local_gpus()
    return Pool(folder, most or workers_that_fit(study.threads, gpus), gpus, stopping)


def _execute(
    missing: Sequence[Job],
    folder: StudyFolder,
    workers: Workers,
    interruption: Interruption,
    display: Display,
) -> dict[str, str]:
    """Executes runs until all have ended, or a signal comes.

    Returns:
        Why runs failed, by their name.
    """
    started = time.monotonic()
    waiting = list(missing)
    unfinished = {job.name for job in missing}
    running: dict[Future[None], Job] = {}
    failures: dict[str, str] = {}
    ended = 0

    def tell(job: Job, outcome: str) -> None:
        nonlocal ended
        ended += 1
        spent = format_duration(time.monotonic() - started)
        position = f"[{ended:>{len(str(len(missing)))}}/{len(missing)}]"
        display.note(f"{position} {spent:>6}  {job.name} {outcome}")

    def describe() -> str:
        states = ", ".join(f"{job.name} {progress(job, folder)}" for job in running.values())
        return f"{len(running)} running: {states}"

    stopped = False
    while True:
        if interruption.reason is None:
            for job in list(waiting):
                if job.after in failures:
                    waiting.remove(job)
                    failures[job.name] = "its pre-training failed"
                    tell(job, f"was not started: {failures[job.name]}")
                elif job.after not in unfinished and len(running) < workers.count:
                    waiting.remove(job)
                    running[workers.start(job)] = job
        elif not stopped:
            stopped = True
            display.note(f"{interruption.reason}: the runs save their state and stop")
            workers.stop()
        if not running:
            return failures
        display.update(describe)
        done, _ = wait(running, _SECONDS_BETWEEN_LOOKS, FIRST_COMPLETED)
        for future in done:
            job = running.pop(future)
            error = future.exception()
            if error is None:
                unfinished.remove(job.name)
                tell(job, "is finished")
            elif not isinstance(error, Stopped):
                failures[job.name] = _reason(error)
                tell(job, f"failed: {failures[job.name]}")


def _reason(error: BaseException) -> str:
    """Why a run failed, in one line."""
    if isinstance(error, UserError | RunFailed):
        return str(error)
    # Not foreseen, so whoever mends it needs to know where it came from.
    traceback.print_exception(error)
    return f"{type(error).__name__}: {error}"


def _all_finished(jobs: Sequence[Job], folder: StudyFolder) -> str:
    where = os.path.relpath(folder.path)
    return f"all {len(jobs)} runs are finished; now: python -m study report {where}"
