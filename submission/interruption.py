"""How a process is told to stop: SIGINT (Ctrl-C), SIGTERM, and SIGHUP of a terminal that closes."""

import math
import os
import signal
import sys
import time
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# Signals that come so close, as from `timeout` and a supervisor at once, are one wish.
_ONE_WISH_SECONDS = 1.0
_EXIT_CODE = 1


class Interruption:
    """Turns a signal into a wish that a loop reads, or into a `KeyboardInterrupt`.

    After a wish, the next signal raises `KeyboardInterrupt`: an impatient Ctrl-C still ends the
    process. After a `KeyboardInterrupt`, while open files are closed, the next one ends it at once.

    Args:
        at_once: Whether the first signal raises `KeyboardInterrupt` already.

    Attributes:
        reason: The signal's name, or None.
    """

    def __init__(self, at_once: bool = False) -> None:
        self.reason: str | None = None
        self._raises = at_once
        self._raised = False
        self._last = -math.inf
        self._otherwise = sys.__excepthook__

    def install(self) -> None:
        """Takes over the signals of this process, and a traceback that one of them leads to."""
        for number in SIGNALS:
            # nohup has SIGHUP ignored, and means it.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._note)
        # What stands there tells of a missing package in one line (`submission/packages.py`).
        self._otherwise = sys.excepthook
        sys.excepthook = self._tell

    @property
    def line(self) -> str:
        """What there is to say of a process that a signal has ended."""
        return f"interrupted by {self.reason}"

    @property
    def ended(self) -> bool:
        """Whether a `KeyboardInterrupt` was raised, into whatever other error it was turned."""
        return self._raised

    def _note(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _ONE_WISH_SECONDS:
            return
        self._last = now
        if self._raised:
            os._exit(_EXIT_CODE)
        self.reason = self.reason or signal.Signals(number).name
        if self._raises:
            self._raised = True
            raise KeyboardInterrupt
        self._raises = True

    def _tell(
        self, kind: type[BaseException], error: BaseException, traceback: TracebackType | None
    ) -> None:
        """An exception that nothing has caught, as while modules are imported."""
        if self._raised:
            print(self.line, file=sys.stderr, flush=True)
            os._exit(_EXIT_CODE)
        self._otherwise(kind, error, traceback)
