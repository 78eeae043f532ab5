"""Runs on a Ray cluster whose nodes share the study's folder, the data sets and this project."""

import contextlib
import importlib.util
import logging
import os
import re
import socket
import sys
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

from study.folder import Stopped, StudyFolder
from study.run.jobs import Job
from study.run.work import RunFailed, execute
from submission.environment import Environment
from submission.errors import UserError
from submission.installation import how_to_get
from submission.runs.processes import search_path

_SECONDS_TO_ANSWER = 10.0
# In Ray's own words: those of the cluster, then those of this process.
_VERSIONS = re.compile(r"Ray: (\S+)\s+Python: (\S+)")


class Cluster:
    """Runs' processes on the nodes of a Ray cluster.

    Ray begins a run again elsewhere when its process or its node dies, `Job.attempts` times in all.
    What was done stands in the shared folder, so that it goes on from there. What Ray itself says
    goes into `ray.log` in that folder.

    Args:
        folder: The study's folder, on a file system that all nodes share.
        address: The cluster's, as `ray.init` takes it.
        threads: The threads of a run; 0 is all cores of a node.
        most: How many runs there may be at once; None is as many as Ray finds room for.

    Raises:
        UserError: There is no cluster, or no node of it can take a run.
    """

    def __init__(self, folder: StudyFolder, address: str, threads: int, most: int | None) -> None:
        # Read when Ray is imported.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        self._ray = ray
        try:
            ray.init(
                address=address,
                runtime_env={"env_vars": _variables()},
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            versions = _VERSIONS.findall(str(error))
            if len(versions) == 2:
                there, here = (f"Ray {ray} on Python {python}" for ray, python in versions)
                raise UserError(
                    f"--cluster {address} runs {there}, this process {here}: "
                    "all machines need the same of both"
                ) from error
            raise UserError(
                f"--cluster {address}: no Ray cluster can be joined there "
                f"({' '.join(str(error).split())}): `ray start --head` starts one"
            ) from error
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._gpus = int(Environment.read().use_cuda and any("GPU" in node for node in nodes))
        self._cpus = _cpus(nodes, threads, self._gpus)
        self.count = most or sys.maxsize
        self._folder = folder
        self._running: dict[Future[None], Any] = {}
        self._log = contextlib.ExitStack()
        log = self._log.enter_context((folder.path / "ray.log").open("a"))
        # Ray's threads print what it noticed, such as the last lines of a lost node's log.
        self._log.enter_context(contextlib.redirect_stdout(log))

    def start(self, job: Job) -> Future[None]:
        """Begins a run, or goes on with it; errors as `execute`."""
        task = self._ray.remote(_on_a_node).options(
            name=job.name,
            num_cpus=self._cpus,
            num_gpus=self._gpus,
            max_retries=job.attempts - 1,
            retry_exceptions=[RunFailed],
            # So that a lost node takes few runs with it.
            scheduling_strategy="SPREAD",
        )
        reference = task.remote(job, str(self._folder.path), bool(self._gpus))
        result: Future[None] = Future()
        self._running[result] = reference
        reference.future().add_done_callback(partial(self._pass_on, result))
        return result

    def stop(self) -> None:
        """Has what is running save its state and end."""
        for reference in list(self._running.values()):
            self._ray.cancel(reference)

    def close(self) -> None:
        """Leaves the cluster."""
        self._ray.shutdown()
        self._log.close()

    def _pass_on(self, result: Future[None], done: "Future[None]") -> None:
        """Gives an outcome on, with the errors of `execute` in place of Ray's."""
        self._running.pop(result, None)
        error = done.exception()
        errors = self._ray.exceptions
        if error is None:
            result.set_result(None)
        elif isinstance(error, errors.TaskCancelledError):
            result.set_exception(Stopped())
        elif isinstance(error, errors.RayTaskError):
            result.set_exception(error.cause)
        else:
            lost = f"{type(error).__name__}: {' '.join(str(error).split())}"
            result.set_exception(RunFailed(lost))


def _on_a_node(job: Job, path: str, on_gpu: bool) -> None:
    """The task: executes a run on the node where Ray places it."""
    folder = StudyFolder(Path(path))
    if not folder.plan.exists():
        raise UserError(
            f"{path} is not there on {socket.gethostname()}: "
            "give --output a folder on a file system that all nodes share"
        )
    execute(job, folder, os.environ["CUDA_VISIBLE_DEVICES"] if on_gpu else None)


def check_answers(address: str) -> None:
    """Refuses an address that is none, or where nothing answers: Ray would try for minutes.

    Args:
        address: As `ray.init` takes it.

    Raises:
        UserError: Nothing answers there, it is a Ray client's, or Ray is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(f"--cluster needs Ray: {how_to_get('ray')}")
    if "://" in address:
        raise UserError(
            f"--cluster {address} is for Ray's clients: give the cluster's own address, "
            "such as 10.0.0.1:6379, or auto, on one of its nodes"
        )
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(
            f"--cluster {address}: nothing answers there ({error.strerror or error}): "
            "`ray start --head` starts a cluster and says its address"
        ) from error


def _variables() -> dict[str, str]:
    """What a node's processes need of this one's environment."""
    environment = Environment.read()
    return {
        "PYTHONPATH": search_path(),
        "DISENTANGLEMENT_LIB_DATA": str(environment.data_root.absolute()),
        "AICROWD_CUDA": str(int(environment.use_cuda)),
    }


def _cpus(nodes: list[dict[str, float]], threads: int, gpus: int) -> int:
    """The cores that a run asks Ray for.

    Raises:
        UserError: No node has as many.
    """
    of_nodes = [int(node.get("CPU", 0)) for node in nodes if not gpus or "GPU" in node]
    if not gpus and not max(of_nodes):
        raise UserError("the cluster's nodes have no cores: start Ray on others")
    if max(of_nodes) < threads:
        raise UserError(
            f"study.threads is {threads}, but the cluster's nodes have {max(of_nodes)} cores "
            "at most: give study.threads no more"
        )
    if threads:
        return threads
    return 1 if gpus else max(1, min(cores for cores in of_nodes if cores))
