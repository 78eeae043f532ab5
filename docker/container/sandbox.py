"""One container, run as a stranger's: no network, no privileges, and an end to all it may use."""

import contextlib
import functools
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
from submission.errors import UserError

UID = 1001
SHARED = "/SHARED"

_MEBIBYTE = 2**20
_GIBIBYTE = 2**30
_SECONDS_BETWEEN_LOOKS = 0.2
# What a container has for the line that tells why it ends, once one that it depends on has failed.
_SECONDS_TO_TELL = 10.0
_ENDED = ("exited", "dead")
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
        cpus: Processors' time; 0 for no limit.
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
        volumes: What else it sees: an `Output`, the `socket_folder`.
        entrypoint: In place of the image's own.
        gpu: What to ask of the engine for a GPU; None for none.
    """

    title: str
    image: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    mounts: Mapping[str, Path]
    volumes: Sequence[Mount] = ()
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
        volume: For the container that writes it, at `SHARED`.
        keeper: A container that holds it, and hands out what is in it.
    """

    volume: Mount
    keeper: Any = field(repr=False)


def default_memory(client: docker.DockerClient) -> int:
    """Bytes: three quarters of the engine's machine, 16 GiB at most."""
    return min(16 * _GIBIBYTE, int(client.info()["MemTotal"]) * 3 // 4)


def default_cpus(client: docker.DockerClient) -> float:
    """All processors of the engine's machine; 0 where it refuses a limit, as a rootless one may."""
    info = client.info()
    return float(info["NCPU"]) if info.get("CpuCfsQuota", True) else 0.0


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
    with _tmpfs(client, "output", limit, inodes=20_000) as name, _removed_container(client, name):
        with interrupts.shielded():
            keeper = client.containers.create(
                image,
                entrypoint=["sleep", str(int(seconds) + _SECONDS_TO_TAKE)],
                name=name,
                mounts=[_volume(SHARED, name, read_only=True)],
                **_hardened(
                    memory=64 * _MEBIBYTE, processes=8, cpus=min(0.5, default_cpus(client))
                ),
            )
            keeper.start()
        yield Output(_volume(SHARED, name), keeper)


@contextlib.contextmanager
def socket_folder(client: docker.DockerClient, target: str) -> Iterator[tuple[Mount, Mount]]:
    """Makes a folder in memory for a Unix socket, and removes it at the end.

    Args:
        client: The engine.
        target: Its path in the containers.

    Yields:
        The folder for the container that listens, and, read-only, for the one that connects.
    """
    with _tmpfs(client, "socket", _MEBIBYTE, inodes=8) as name:
        yield _volume(target, name), _volume(target, name, read_only=True)


@contextlib.contextmanager
def _tmpfs(client: docker.DockerClient, title: str, limit: int, inodes: int) -> Iterator[str]:
    name = f"portal-{title}-{uuid.uuid4().hex[:12]}"
    options = f"size={limit},nr_inodes={inodes},uid={UID},gid={UID},mode=0755,nosuid,nodev,noexec"
    with _removed_volume(client, name):
        with interrupts.shielded():
            client.volumes.create(
                name,
                driver_opts={"type": "tmpfs", "device": "tmpfs", "o": options},
                labels={ownership.LABEL: ownership.owner()},
            )
        yield name


def _volume(target: str, name: str, read_only: bool = False) -> Mount:
    return Mount(target, name, type="volume", read_only=read_only, no_copy=True)


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


@dataclass(frozen=True)
class Running:
    """A container that was started.

    Attributes:
        container: The engine's.
        limits: What it may use.
        log: What it prints to.
    """

    container: Any
    limits: Limits
    log: LiveLog
    reader: "_Reader" = field(repr=False)

    def state(self) -> dict[str, Any]:
        """What the engine says of it."""
        found: dict[str, Any] = self.container.client.api.inspect_container(self.container.id)
        return found["State"]


def run(
    client: docker.DockerClient,
    job: Job,
    limits: Limits,
    log: LiveLog,
    supervision: Supervision | None = None,
) -> Ending:
    """Runs a container to its end, or to the end of what it may use, and removes it.

    Args:
        client: The engine.
        job: What to run.
        limits: What it may use.
        log: Takes its output.
        supervision: What else is done while it runs.

    Returns:
        How it ended.
    """
    with started(client, job, limits, log) as running:
        return watch(running, supervision)


@contextlib.contextmanager
def started(
    client: docker.DockerClient, job: Job, limits: Limits, log: LiveLog, source: str = ""
) -> Iterator[Running]:
    """Starts a container, and removes it at the end, whether or not it has ended.

    Args:
        client: The engine.
        job: What to run.
        limits: What it may use.
        log: Takes its output.
        source: What the log calls it; see `LiveLog.feed`.

    Yields:
        The container.
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
                **mounts(job, engine.has_selinux(client)),
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
        reader = _Reader(stream, functools.partial(log.feed, source=source))
        reader.start()
        with interrupts.shielded():
            container.start()
        yield Running(container, limits, log, reader)


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


def mounts(job: Job, labelled: bool) -> dict[str, Any]:
    """What a container sees of this machine, as docker-py wants it.

    Args:
        job: What it runs.
        labelled: Whether the files have to be given SELinux's label of containers' files. Only an
            old-style volume can; the other kind tells when the engine doesn't see a file.
    """
    if labelled:
        volumes = [f"{os.fspath(source)}:{target}:ro,z" for target, source in job.mounts.items()]
        return {"mounts": [*job.volumes], "volumes": volumes}
    binds = [
        Mount(target, os.fspath(source), type="bind", read_only=True)
        for target, source in job.mounts.items()
    ]
    return {"mounts": [*binds, *job.volumes]}


class _Reader(threading.Thread):
    """Hands a container's output to the log.

    It reads on when the log is full: an engine that can't hand on what a container prints doesn't
    notice that the container was killed.
    """

    def __init__(self, stream: Any, feed: Callable[[bytes], None]) -> None:
        super().__init__(daemon=True)
        self._stream = stream
        self._feed = feed
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            for chunk in self._stream:
                self._feed(chunk)
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


def watch(
    running: Running,
    supervision: Supervision | None = None,
    beside: Running | None = None,
) -> Ending:
    """Waits for a container's end, and brings it about where a limit asks for it.

    Args:
        running: The container.
        supervision: What else is done meanwhile.
        beside: Another container, without which this one can't go on: if that one fails, this one
            has a few seconds to tell so.

    Returns:
        How it ended.
    """
    limits, log = running.limits, running.log
    started = saved = time.monotonic()
    stopped = ""
    failure = ""
    ends = limits.seconds  # when SIGTERM is due, on the container's clock
    asked = requested = False
    alone_since = None
    while True:
        state = running.state()
        seconds = time.monotonic() - started
        if state["Status"] in _ENDED:
            break
        log.tick(seconds)
        running.reader.check()
        if supervision and supervision.request.is_set() and not asked:
            requested = True
            ends = seconds
        if beside and alone_since is None and (failure := _failure(beside)):
            alone_since = seconds
        if requested:
            why = "was interrupted"
        else:
            why = f"ran past its wall clock of {format_duration(limits.seconds)}"
        if log.is_full.is_set():
            stopped = f"printed more than {limits.printed // _MEBIBYTE} MiB and was killed"
            _kill(running.container, "SIGKILL")
        elif alone_since is not None and seconds > alone_since + _SECONDS_TO_TELL:
            stopped = f"couldn't go on without the model's container, which {failure}"
            _kill(running.container, "SIGKILL")
        elif seconds > ends + limits.grace:
            stopped = f"{why}, ignored SIGTERM for {format_duration(limits.grace)} and was killed"
            _kill(running.container, "SIGKILL")
        elif seconds >= ends and not asked:
            asked = True
            stopped = f"{why} and was ended by SIGTERM"
            _kill(running.container, "SIGTERM")
        elif supervision and not asked and time.monotonic() - saved > supervision.save_every:
            supervision.save()
            saved = time.monotonic()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    running.reader.finish()
    return Ending(
        int(state["ExitCode"]), seconds, stopped or _out_of_memory(state, limits), requested
    )


def end(running: Running, seconds: float) -> Ending:
    """Ends a container that is of no more use.

    Args:
        running: The container.
        seconds: How long it may take to end by itself.

    Returns:
        How it ended; that it was killed here is no reason to tell.
    """
    begun = time.monotonic()
    while (state := running.state())["Status"] not in _ENDED:
        if time.monotonic() - begun >= seconds:
            _kill(running.container, "SIGKILL")
        time.sleep(_SECONDS_BETWEEN_LOOKS / 10)
    running.reader.finish()
    lasted = time.monotonic() - begun
    return Ending(int(state["ExitCode"]), lasted, _out_of_memory(state, running.limits))


def check(ending: Ending, title: str, log: LiveLog, what: str = "the submission's code") -> None:
    """Raises what a container's end means.

    Args:
        ending: How it ended.
        title: One word for it.
        log: What it printed.
        what: Ran in it.

    Raises:
        UserError: It was stopped, or told a mistake.
        RuntimeError: It failed.
    """
    if ending.stopped:
        raise UserError(f"{title}: {what} {ending.stopped}")
    if ending.exit_code == 2 and log.last_error:
        raise UserError(f"{title}: {log.last_error}")
    if ending.exit_code:
        raise RuntimeError(f"{title} ended with exit code {ending.exit_code}")


def _failure(running: Running) -> str:
    """What a container that has ended by itself failed with; "" when none did."""
    state = running.state()
    has_failed = state["Status"] in _ENDED and state["ExitCode"] != 0
    return f"ended with exit code {state['ExitCode']}" if has_failed else ""


def _out_of_memory(state: Mapping[str, Any], limits: Limits) -> str:
    # A training that the kernel has killed may have been started again, and ended well.
    if not state["OOMKilled"] or not state["ExitCode"]:
        return ""
    return f"needed more than its {limits.memory / _GIBIBYTE:.3g} GiB of memory and was killed"


def _kill(container: Any, signal_name: str) -> None:
    with contextlib.suppress(APIError):  # it has ended meanwhile
        container.kill(signal_name)


def _hardened(memory: int, processes: int, cpus: float) -> dict[str, Any]:
    """The settings that keep a container from everything outside it."""
    return {
        "user": f"{UID}:{UID}",
        "network_mode": "none",
        # Else docker-py hands the proxies of ~/.docker/config.json in, with their passwords.
        "use_config_proxy": False,
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
