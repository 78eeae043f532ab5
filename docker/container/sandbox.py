"""One container, run as a stranger's: no network, no privileges, and an end to all it may use."""

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
from docker.errors import APIError, NotFound
from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from container import engine, image, interrupts, ownership
from container.live_log import LiveLog
from submission.budget import format_duration

UID = 1001
SHARED = "/SHARED"

_MEBIBYTE = 2**20
_GIBIBYTE = 2**30
_SECONDS_BETWEEN_LOOKS = 0.2
# How much later a container ends itself than it is ended from outside, should nobody be there.
_SECONDS_ALONE = 10
# Before its copies are taken out, the keeper has to last; then it ends by itself too.
_SECONDS_TO_TAKE = 3600


@dataclass(frozen=True)
class Limits:
    """What a container may use.

    Attributes:
        seconds: Wall clock; then SIGTERM.
        grace: Seconds from SIGTERM to SIGKILL.
        memory: Bytes, with what it writes to its output, /tmp and /dev/shm; no swap.
        processes: Processes and threads.
        cpus: Processors' time.
        output: Bytes that it may leave in its output.
        printed: Bytes that it may print.
    """

    seconds: float
    grace: float
    memory: int
    processes: int
    cpus: float
    output: int
    printed: int = 16 * _MEBIBYTE


@dataclass(frozen=True)
class Job:
    """What a container runs.

    Attributes:
        title: One word for it.
        image: The image.
        arguments: What follows the entry point.
        environment: Environment variables.
        mounts: Folders and files of this machine, read-only, by their path in the container.
        entrypoint: In place of the image's own.
        gpu: What to ask of the engine for a GPU; None for none.
    """

    title: str
    image: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    mounts: Mapping[str, Path]
    entrypoint: Sequence[str] | None = None
    gpu: DeviceRequest | None = None


@dataclass(frozen=True)
class Ending:
    """How a container ended.

    Attributes:
        exit_code: Its main process's.
        seconds: How long it ran.
        stopped: Why it was stopped from outside; "" when it ended by itself.
        requested: Whether it was stopped since a person wished it.
    """

    exit_code: int
    seconds: float
    stopped: str
    requested: bool = False


@dataclass(frozen=True)
class Output:
    """A folder in memory that containers may write; it lasts as long as its keeper.

    Attributes:
        volume: The engine's name for it.
        keeper: A container that holds it, and hands out what is in it.
    """

    volume: str
    keeper: Any = field(repr=False)


def default_memory(client: docker.DockerClient) -> int:
    """Bytes: three quarters of the engine's machine, 16 GiB at most."""
    return min(16 * _GIBIBYTE, int(client.info()["MemTotal"]) * 3 // 4)


def default_cpus(client: docker.DockerClient) -> float:
    """All processors of the engine's machine."""
    return float(client.info()["NCPU"])


@contextlib.contextmanager
def output(client: docker.DockerClient, image: str, limit: int, seconds: float) -> Iterator[Output]:
    """Makes an empty folder that the user of the container owns, and removes it at the end.

    It is a tmpfs of a size: the kernel itself refuses what is too much, nothing of it reaches this
    machine's disk unseen, and neither another uid's files nor its folders stay behind.

    Args:
        client: The engine.
        image: Any image that has `sleep`.
        limit: Bytes.
        seconds: How long it is used at most.

    Yields:
        The folder.
    """
    name = f"portal-output-{uuid.uuid4().hex[:12]}"
    options = f"size={limit},nr_inodes=20000,uid={UID},gid={UID},mode=0755,nosuid,nodev,noexec"
    with _removed_volume(client, name), _removed_container(client, name):
        with interrupts.shielded():
            client.volumes.create(
                name,
                driver_opts={"type": "tmpfs", "device": "tmpfs", "o": options},
                labels={ownership.LABEL: ownership.owner()},
            )
            keeper = client.containers.create(
                image,
                entrypoint=["sleep", str(int(seconds) + _SECONDS_TO_TAKE)],
                name=name,
                mounts=[Mount(SHARED, name, type="volume", read_only=True, no_copy=True)],
                **_hardened(memory=64 * _MEBIBYTE, processes=8, cpus=0.5),
            )
            keeper.start()
        yield Output(name, keeper)


@dataclass(frozen=True)
class Supervision:
    """What is done with a container while it runs, beside what its limits ask.

    Attributes:
        request: Once it is set, the container is ended as if its time was up.
        save: Called from time to time.
        save_every: Seconds from one call of `save` to the next.
    """

    request: threading.Event
    save: Callable[[], None]
    save_every: float


def run(
    client: docker.DockerClient,
    job: Job,
    shared: Output,
    limits: Limits,
    log: LiveLog,
    supervision: Supervision | None = None,
) -> Ending:
    """Runs a container to its end, or to the end of what it may use, and removes it.

    Args:
        client: The engine.
        job: What to run.
        shared: The folder that it may write, `SHARED` in the container.
        limits: What it may use.
        log: Takes its output.
        supervision: What else is done while it runs.

    Returns:
        How it ended.
    """
    name = f"portal-{job.title}-{uuid.uuid4().hex[:12]}"
    with _removed_container(client, name):
        with interrupts.shielded():
            container = client.containers.create(
                job.image,
                entrypoint=_timed(client, job, limits),
                name=name,
                # Which BLAS kernels compute is this machine's to say, so that numbers are the same.
                environment={
                    **{
                        key: value
                        for key, value in os.environ.items()
                        if key.startswith("OPENBLAS_")
                    },
                    **job.environment,
                },
                **mounts(job.mounts, shared, engine.has_selinux(client)),
                # On a GPU, torch.compile loads from there what it has compiled.
                tmpfs={
                    "/tmp": f"size={_GIBIBYTE},mode=1777,nosuid,nodev{',exec' if job.gpu else ''}"
                },
                shm_size=_GIBIBYTE,
                device_requests=[job.gpu] if job.gpu else None,
                **_hardened(limits.memory, limits.processes, limits.cpus),
            )
        # Attached before the start, so that not a line is lost; the engine keeps no log of its own,
        # which a program that prints without end would fill its disk with.
        stream = container.attach(stream=True, logs=False)
        reader = _Reader(stream, log)
        reader.start()
        with interrupts.shielded():
            container.start()
        ending = _watch(container, limits, log, reader, supervision)
        reader.finish()
    return ending


def _timed(client: docker.DockerClient, job: Job, limits: Limits) -> list[str]:
    """The command, with a wall clock inside the container: this process may be killed.

    What ends it from outside comes first. The rest of the container ends with `timeout`, which is
    its first process.
    """
    config = image.get(client, job.image).attrs["Config"]
    if job.entrypoint:
        command = [*job.entrypoint, *job.arguments]
    else:
        command = [*(config.get("Entrypoint") or ()), *(job.arguments or config.get("Cmd") or ())]
    alone = limits.grace + _SECONDS_ALONE
    return [
        *("timeout", "--foreground", f"--kill-after={alone:.3f}", f"{limits.seconds + alone:.3f}"),
        *command,
    ]


def mounts(seen: Mapping[str, Path], shared: Output, labelled: bool) -> dict[str, Any]:
    """What a container sees of this machine, as docker-py wants it.

    Args:
        seen: Folders and files of this machine, by their path in the container.
        shared: The folder that it may write.
        labelled: Whether the files have to be given SELinux's label of containers' files. Only an
            old-style volume can; the other kind tells when the engine doesn't see a file.
    """
    volume = Mount(SHARED, shared.volume, type="volume", no_copy=True)
    if labelled:
        volumes = [f"{os.fspath(source)}:{target}:ro,z" for target, source in seen.items()]
        return {"mounts": [volume], "volumes": volumes}
    binds = [
        Mount(target, os.fspath(source), type="bind", read_only=True)
        for target, source in seen.items()
    ]
    return {"mounts": [*binds, volume]}


class _Reader(threading.Thread):
    """Hands a container's output to the log.

    It reads on when the log is full: an engine that can't hand on what a container prints doesn't
    notice that the container was killed.
    """

    def __init__(self, stream: Any, log: LiveLog) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._log = log
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            for chunk in self._stream:
                self._log.feed(chunk)
        except BaseException as error:
            self._error = error

    def check(self) -> None:
        """Raises what ended the reading, such as a full disk."""
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Waits for the last lines of a container that has ended."""
        self.join(timeout=10.0)
        if self.is_alive():
            self._stream.close()
            self.join()
        else:
            self.check()


def _watch(
    container: Any,
    limits: Limits,
    log: LiveLog,
    reader: _Reader,
    supervision: Supervision | None,
) -> Ending:
    started = saved = time.monotonic()
    stopped = ""
    ends = limits.seconds  # when SIGTERM is due, on the container's clock
    asked = requested = False
    while True:
        state = container.client.api.inspect_container(container.id)["State"]
        seconds = time.monotonic() - started
        if state["Status"] in ("exited", "dead"):
            break
        log.tick(seconds)
        reader.check()
        if supervision and supervision.request.is_set() and not asked:
            requested = True
            ends = seconds
        why = (
            "was interrupted"
            if requested
            else f"ran past its wall clock of {format_duration(limits.seconds)}"
        )
        if log.is_full.is_set():
            stopped = f"printed more than {limits.printed // _MEBIBYTE} MiB and was killed"
            _kill(container, "SIGKILL")
        elif seconds > ends + limits.grace:
            stopped = f"{why}, ignored SIGTERM for {format_duration(limits.grace)} and was killed"
            _kill(container, "SIGKILL")
        elif seconds >= ends and not asked:
            asked = True
            stopped = f"{why} and was ended by SIGTERM"
            _kill(container, "SIGTERM")
        elif supervision and not asked and time.monotonic() - saved > supervision.save_every:
            supervision.save()
            saved = time.monotonic()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    # A training that the kernel has killed may have been started again, and ended well.
    if state["OOMKilled"] and state["ExitCode"] and not stopped:
        stopped = (
            f"needed more than its {limits.memory / _GIBIBYTE:.3g} GiB of memory and was killed"
        )
    return Ending(int(state["ExitCode"]), seconds, stopped, requested)


def _kill(container: Any, signal_name: str) -> None:
    with contextlib.suppress(APIError):  # it has ended meanwhile
        container.kill(signal_name)


def _hardened(memory: int, processes: int, cpus: float) -> dict[str, Any]:
    """The settings that keep a container from everything outside it."""
    return {
        "user": f"{UID}:{UID}",
        "network_mode": "none",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges"],
        "mem_limit": memory,
        "memswap_limit": memory,  # with swap: so none
        "pids_limit": processes,
        "nano_cpus": int(cpus * 1e9),
        "ulimits": [Ulimit(name="core", soft=0, hard=0)],
        "oom_score_adj": 500,  # the first to go when the machine itself has no memory left
        "log_config": LogConfig(type="none"),
        "labels": {ownership.LABEL: ownership.owner()},
        "healthcheck": {"test": ["NONE"]},
    }


@contextlib.contextmanager
def _removed_container(client: docker.DockerClient, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        with interrupts.shielded(), contextlib.suppress(NotFound):
            client.containers.get(name).remove(force=True)


@contextlib.contextmanager
def _removed_volume(client: docker.DockerClient, name: str) -> Iterator[None]:
    try:
        yield
    finally:
        with interrupts.shielded(), contextlib.suppress(NotFound):
            client.volumes.get(name).remove(force=True)
