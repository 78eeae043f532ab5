"""The scorer's side: starts the process that a model runs in, and asks it for codes."""

import contextlib
import json
import math
import os
import queue
import re
import signal
import site
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evaluator import formats
from evaluator.worker import confinement, operations
from evaluator.worker.frames import (
    LARGEST_NUMBER,
    LARGEST_PARAMETER,
    BrokenFrameError,
    Frame,
    Kind,
    receive,
    send,
)
from evaluator.worker.readers import Reading
from submission.errors import UserError
from submission.runs.processes import search_path

MOST_LATENTS = 4096

# An import of TensorFlow from a slow disk, or the start of a container.
_SECONDS_TO_START = 300.0
_SECONDS_A_BATCH = 600.0
_SECONDS_IN_ALL = 4 * 3600.0
_MOST_CONNECTIONS = 1024
# All that a worker sees of the environment: where programs are, and how fast libraries may be.
_ENVIRONMENT = re.compile(r"PATH|LANG|LC_\w+|TZ|LD_LIBRARY_PATH|(OMP|MKL)_\w+")


class FailedError(Exception):
    """The model raised an error; the message is the line that tells."""


class Worker:
    """A process in which one model runs, and the sockets that lead to it.

    Attributes:
        path: What messages call the model.
    """

    def __init__(
        self,
        path: Path,
        connections: list[socket.socket],
        process: subprocess.Popen[bytes] | None,
        seconds: float = _SECONDS_IN_ALL,
    ) -> None:
        """Wraps sockets.

        Args:
            path: What messages call the model.
            connections: The first is for what is asked one by one, the others for what is asked in
                parallel.
            process: The other end; None where it wasn't started from here.
            seconds: How long it answers in all.
        """
        self.path = path
        self._first = connections[0]
        self._others: queue.SimpleQueue[socket.socket] = queue.SimpleQueue()
        for one in connections[1:]:
            self._others.put(one)
        self._parallel = len(connections) > 1
        self._process = process
        self._deadline = time.monotonic() + seconds

    def reading(self, float64: bool = False) -> Reading:
        """Waits until the model is read.

        Args:
            float64: Whether images of the data set are given to it as float64, as the reference
                gives them; else as float32.

        Returns:
            The model, whose functions ask the process.

        Raises:
            UserError: It can't be read, or the process has ended.
        """
        told = self._ready()
        warnings = told.get("warnings")
        pixels = Kind.PIXELS_AS_FLOAT64 if float64 else Kind.PIXELS_AS_FLOAT32
        if told.get("pixels") is True:
            pixels = Kind.PIXELS

        def encode(images: np.ndarray) -> np.ndarray:
            return self._codes(self._first, Frame(Kind.IMAGES, images))

        def encode_pixels(images: np.ndarray, white: int) -> np.ndarray:
            return self._codes(self._first, Frame(pixels, images, white))

        def fast(images: np.ndarray, white: int) -> np.ndarray:
            connection = self._others.get()
            try:
                return self._codes(connection, Frame(Kind.PIXELS_IN_PARALLEL, images, white))
            finally:
                self._others.put(connection)

        return Reading(
            encode,
            encode_pixels,
            fast if self._parallel and told.get("parallel") is True else None,
            tuple(_plain(str(one)) for one in warnings) if isinstance(warnings, list) else (),
        )

    def encode(self, model: int, images: np.ndarray) -> np.ndarray:
        """Asks one of several encoders for codes.

        Args:
            model: Its place among those that the process was started with.
            images: float32 [n, h, w, c] in [0, 1].

        Returns:
            float32 [n, latents].

        Raises:
            UserError: It can't be read, fails, or gives anything else.
        """
        codes = self._told(Frame(Kind.IMAGES, images, model), len(images) * MOST_LATENTS)
        if codes.ndim != 2 or len(codes) != len(images):
            raise UserError(f"{self.path} returns {list(codes.shape)}, not [n, latents]")
        return codes.astype(np.float32)

    def decode(self, model: int, codes: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
        """Asks one of several decoders for images.

        Args:
            model: Its place among those that the process was started with.
            codes: float32 [n, latents].
            shape: Height, width and channels.

        Returns:
            float32 [n, h, w, c].

        Raises:
            UserError: It can't be read, fails, or gives anything else.
        """
        images = self._told(Frame(Kind.CODES, codes, model), len(codes) * math.prod(shape))
        if images.dtype.kind != "f" or images.shape != (len(codes), *shape):
            raise UserError(
                f"the decoder returns {images.dtype} {list(images.shape)} for {len(codes)} codes: "
                f"an image of the data set is {list(shape)}"
            )
        return images.astype(np.float32)

    def parameter(self, model: int, place: int) -> np.ndarray:
        """Asks one of several decoders for what it has learnt.

        Args:
            model: Its place among those that the process was started with.
            place: Which parameter, in the order of the decoder's code.

        Returns:
            float32, of at most four axes and `LARGEST_PARAMETER` numbers.

        Raises:
            UserError: It can't be read, or has no such parameter.
        """
        request = Frame(Kind.PARAMETER, np.array([place], np.uint32), model)
        return self._told(request, LARGEST_PARAMETER).astype(np.float32)

    def _told(self, request: Frame, most: int) -> np.ndarray:
        try:
            return self._ask(self._first, request, most * LARGEST_NUMBER)
        except FailedError as error:
            raise UserError(str(error)) from error

    def _ready(self) -> dict[str, Any]:
        try:
            frame = receive(self._first, 0, time.monotonic() + _SECONDS_TO_START)
            if frame.kind == Kind.MISTAKE:
                raise UserError(_plain(frame.text))
            told = json.loads(frame.text)
            if frame.kind != Kind.READY or not isinstance(told, dict):
                raise BrokenFrameError("it sent what is no answer")
        except (BrokenFrameError, ValueError, RecursionError) as error:
            raise self._broken(error) from error
        return told

    def _codes(self, connection: socket.socket, request: Frame) -> np.ndarray:
        most = len(request.array) * MOST_LATENTS * LARGEST_NUMBER
        return self._ask(connection, request, most)

    def _ask(self, connection: socket.socket, request: Frame, most_bytes: int) -> np.ndarray:
        deadline = min(self._deadline, time.monotonic() + _SECONDS_A_BATCH)
        try:
            send(connection, request, deadline)
            answer = receive(connection, most_bytes, deadline)
            if answer.kind == Kind.MISTAKE:
                raise UserError(_plain(answer.text))
            if answer.kind == Kind.FAILURE:
                raise FailedError(_plain(answer.text))
            if answer.kind != Kind.ARRAY:
                raise BrokenFrameError("it sent what is no answer")
        except BrokenFrameError as error:
            # What comes next on this socket can't be told from what is missing.
            connection.close()
            raise self._broken(error) from error
        return answer.array

    def _broken(self, error: Exception) -> UserError:
        if self._process is not None:
            # Its sockets are closed a moment before it has ended.
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(1)
                # A real-time signal has no name.
                names = {one.value: one.name for one in signal.Signals}
                by = names.get(-code, f"signal {-code}")
                how = f"by {by}" if code < 0 else f"with exit code {code}"
                return UserError(
                    f"{self.path} ends the process that it runs in, {how}: export it again with "
                    "the packages of requirements.txt, if it is no lack of memory"
                )
        return UserError(f"the process that {self.path} runs in was stopped: {error}")


@contextlib.contextmanager
def started(path: Path, *, trust: bool = False, parallel: bool = True) -> Iterator[Worker]:
    """Starts a worker on this machine, confined as far as the machine can, and ends it.

    Args:
        path: The model, as `evaluator.formats.find` found it.
        trust: Whether a model that nothing confines may run though its code names files.
        parallel: Whether it may be asked from several threads; a connection for each is open then.

    Yields:
        The worker, which may still be reading the model.

    Raises:
        UserError: Nothing confines it, and it isn't trusted; or what runs it isn't installed.
    """
    formats.check_installed(path)
    absolute = path.absolute()
    connections = 1 + (confinement.most_in_parallel() if parallel else 0)
    with _process([absolute], [str(absolute)], connections, trust) as (
        process,
        sockets,
    ):
        yield Worker(path, sockets, process)


@contextlib.contextmanager
def started_autoencoders(halves: Sequence[tuple[Path, Path]]) -> Iterator[Worker]:
    """Starts one worker for several models of one origin, which compute with one thread.

    The number of threads decides the last bits of a sum, and so the bytes of a page.

    Args:
        halves: Encoder and decoder of each, TorchScript.

    Yields:
        The worker, for `Worker.encode` and `Worker.decode`.

    Raises:
        UserError: Nothing confines it, and the models' code names files.
    """
    files = [path.absolute() for pair in halves for path in pair]
    arguments = ["--autoencoders", *map(str, files)]
    with _process(files, arguments, 1, trust=False, threads=1) as (process, sockets):
        # A page may stay open for days; each picture has its own limit.
        yield Worker(files[0], sockets, process, math.inf)


@contextlib.contextmanager
def _process(
    files: list[Path],
    arguments: list[str],
    connections: int,
    trust: bool,
    threads: int | None = None,
) -> Iterator[tuple[subprocess.Popen[bytes], list[socket.socket]]]:
    wall = confinement.kind()
    if wall is None and not trust:
        for path in files:
            _refuse_operations(path)
    pairs = [socket.socketpair() for _ in range(connections)]
    theirs = [pair[1] for pair in pairs]
    try:
        process = _start(files, arguments, theirs, wall, threads)
    finally:
        for one in theirs:
            one.close()
    try:
        yield process, [pair[0] for pair in pairs]
    finally:
        process.kill()
        process.wait()
        for pair in pairs:
            pair[0].close()


@contextlib.contextmanager
def awaited(path: Path, place: Path) -> Iterator[Worker]:
    """Listens for a worker that somebody else starts, as in a container beside this one.

    Args:
        path: The model.
        place: Where the Unix socket is made.

    Yields:
        The worker.

    Raises:
        UserError: The socket can't be made, or nobody connects.
    """
    connections: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            listener.bind(str(place))
            listener.listen(_MOST_CONNECTIONS)
            # The model's process runs as whoever its container says.
            place.chmod(0o666)
            listener.settimeout(_SECONDS_TO_START)
            first, _ = listener.accept()
            connections.append(first)
            first.settimeout(_SECONDS_TO_START)
            # Each worker has as many as it says.
            for _ in range(first.recv(1)[0]):
                connections.append(listener.accept()[0])
        except TimeoutError as error:
            raise UserError(f"no model has connected to {place} in time") from error
        except (OSError, IndexError) as error:
            reason = getattr(error, "strerror", None) or "the model's process ended"
            raise UserError(f"--worker {place} can't be listened at ({reason})") from error
        try:
            yield Worker(path, connections, None)
        finally:
            for one in connections:
                one.close()
            place.unlink(missing_ok=True)


def _refuse_operations(path: Path) -> None:
    named = operations.file_operations(path)
    if named:
        raise UserError(
            f"{path} names {named[0]}, and nothing on this machine confines it (Landlock of Linux "
            "5.13, or bubblewrap): score it in the container, or pass --trust if you trust where "
            "it comes from"
        )


def _start(
    files: list[Path],
    arguments: list[str],
    sockets: list[socket.socket],
    wall: str | None,
    threads: int | None,
) -> subprocess.Popen[bytes]:
    descriptors = [one.fileno() for one in sockets]
    command = [sys.executable, "-W", "ignore", "-m", "evaluator.worker", *arguments]
    command += ["--descriptors", ",".join(map(str, descriptors))]
    if wall == confinement.BUBBLEWRAP:
        command = confinement.bubblewrap(command, operations.with_files_beside(files))
    else:
        command += ["--parent", str(os.getpid())]
    environment = {
        name: value for name, value in os.environ.items() if _ENVIRONMENT.fullmatch(name)
    }
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    # Threads that spin while they wait make a batch 3 to 10 times slower once another process
    # wants the cores.
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return subprocess.Popen(
        command,
        env=environment
        # A GPU's driver needs more than the walls leave, and would be one way through them.
        | {"PYTHONPATH": search_path(), "HOME": confinement.NOWHERE, "CUDA_VISIBLE_DEVICES": ""}
        # What `pip install --user` installed would be looked for in that home.
        | ({"PYTHONUSERBASE": site.getuserbase()} if site.ENABLE_USER_SITE else {}),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        pass_fds=descriptors,
        # A Ctrl-C in the terminal is the scorer's to see. In a session of its own the process would
        # have a share of the processors of its own too, whatever its niceness.
        process_group=0,
    )


def _plain(text: str) -> str:
    """A stranger's text as one line that no terminal obeys."""
    line = " ".join(text.split())
    return "".join(character for character in line if character.isprintable())[:2000]
