"""Training in a process of its own, which is started again after a crash, inside one budget.

A crash is a kill by the kernel (out of memory, a segmentation fault) or an exception that isn't the
user's to mend (a CUDA error). The next process goes on from the last checkpoint, and the budget's
clock runs on. The supervisor itself imports next to nothing, and computes nothing.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from types import FrameType

from submission.budget import format_duration
from submission.command_line import EXIT_DONE, EXIT_FAILED, EXIT_USER_ERROR
from submission.interruption import SIGNALS
from submission.output import never_fail
from submission.runs.processes import end_with

RESTARTS = 3
"""How often a training is started again unless `trainer.restarts` says otherwise."""

_VARIABLE = "NDC_SUPERVISOR"
_MOST_BYTES_TOLD = 4096


@dataclass(frozen=True)
class Supervisor:
    """The process that has started this one, as a training knows it; the default is none.

    Attributes:
        started: `time.monotonic()` when the budget began.
        crashes: How the earlier processes of this run ended, such as `SIGKILL`.
        pipe: The file descriptor by which it is told things.
    """

    started: float = field(default_factory=time.monotonic)
    crashes: tuple[str, ...] = ()
    pipe: int | None = None

    @classmethod
    def of_this_process(cls) -> "Supervisor | None":
        """None where no supervisor has started this process."""
        text = os.environ.pop(_VARIABLE, None)
        if text is None:
            return None
        told = json.loads(text)
        os.set_inheritable(told["pipe"], False)
        # Held back until this process had its handlers: no signal is lost, none kills it.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        return cls(told["started"], tuple(told["crashes"]), told["pipe"])

    def restarts_after_a_crash(self, most: int) -> bool:
        """Whether another process follows if this one crashes.

        Args:
            most: `trainer.restarts`.
        """
        return self.pipe is not None and len(self.crashes) < most

    def tell_restarts(self, most: int) -> None:
        """Tells how often this run may be started again."""
        self._tell("restarts", most)

    def tell_end(self, exit_code: int) -> None:
        """Tells that the run has ended: whatever comes now, it isn't started again."""
        self._tell("ended", exit_code)

    def _tell(self, name: str, value: int) -> None:
        if self.pipe is not None:
            # A supervisor that is gone has this process killed.
            with contextlib.suppress(OSError):
                os.write(self.pipe, f"{name} {value}\n".encode())


def is_supervised() -> bool:
    """Whether a supervisor has started this process."""
    return _VARIABLE in os.environ


def supervise(started: float) -> int:
    """Runs this process's own command in another one, as often as crashes make it necessary.

    Signals are handed on. If this process is killed, the kernel kills the training.

    Args:
        started: `time.monotonic()` when the budget began.

    Returns:
        The exit code.
    """
    never_fail()
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    signals = _Signals()
    crashes: list[str] = []
    most: int | None = None
    while True:
        read, write = os.pipe()
        os.set_blocking(read, False)
        process = _start(Supervisor(started, tuple(crashes), write))
        os.close(write)
        code = signals.wait(process)
        # Not to the end of the file: what the training had started may still hold the pipe.
        told = _read(read)
        os.close(read)
        if "ended" in told:
            return told["ended"]
        most = told.get("restarts", most)
        if code in (EXIT_DONE, EXIT_USER_ERROR):
            return code
        # An exception before the settings are read would come again.
        if signals.received or (code > 0 and most is None):
            return EXIT_FAILED
        crash = "an exception" if code > 0 else _name(-code)
        when = format_duration(time.monotonic() - started)
        if len(crashes) >= (RESTARTS if most is None else most):
            if code < 0:
                print(f"error: training was ended by {crash} after {when}", file=sys.stderr)
            return EXIT_FAILED
        crashes.append(crash)
        print(
            f"training was ended by {crash} after {when}, and goes on from its last checkpoint "
            f"(restart {len(crashes)} of {RESTARTS if most is None else most})",
            flush=True,
        )


class _Signals:
    """Hands signals on to the training, which come to this process while it waits for it.

    At other times they are held back.

    Attributes:
        received: Whether there was one.
    """

    def __init__(self) -> None:
        self.received = False
        self._process: subprocess.Popen[bytes] | None = None
        for number in SIGNALS:
            # nohup has SIGHUP ignored, and means it.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._hand_on)

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Waits for the end of a process; returns what `Popen.wait` does."""
        self._process = process
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        code = process.wait()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        return code

    def _hand_on(self, number: int, frame: FrameType | None) -> None:
        self.received = True
        if self._process is not None:
            self._process.send_signal(number)


def _start(supervisor: Supervisor) -> subprocess.Popen[bytes]:
    """Starts this very command, in the terminal's same foreground, as a Ctrl-Z asks for."""
    assert supervisor.pipe is not None
    os.set_inheritable(supervisor.pipe, True)
    return subprocess.Popen(
        [sys.executable, *sys.orig_argv[1:]],
        env={**os.environ, _VARIABLE: json.dumps(asdict(supervisor))},
        # The locks too, which whoever started this process has left it.
        close_fds=False,
        preexec_fn=partial(end_with, os.getpid()),
    )


def _read(pipe: int) -> Mapping[str, int]:
    """What a training has told, by the names that it gave."""
    try:
        text = os.read(pipe, _MOST_BYTES_TOLD).decode()
    except BlockingIOError:
        return {}
    return {name: int(value) for name, value in map(str.split, text.splitlines())}


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
