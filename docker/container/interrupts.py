"""Ctrl-C and its like, held back while a container is being made or removed."""

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A closing terminal, or a service manager, sends two at once: that is one wish.
_SECONDS_OF_ONE = 0.1
_depth = 0
_pending = False
_request: threading.Event | None = None
_requested_at = 0.0


def install() -> None:
    """Makes the first SIGINT, SIGTERM or SIGHUP raise `KeyboardInterrupt`, after what is shielded.

    Later ones do nothing: what they would cut short is the cleaning up.
    """
    for number in _SIGNALS:
        # nohup has SIGHUP ignored, and means it.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _note)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Runs the body to its end; an interruption that came meanwhile is raised after it."""
    global _depth
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
    _raise_pending()


@contextlib.contextmanager
def requested() -> Iterator[threading.Event]:
    """Yields an event that the first interruption sets; a second one is raised."""
    global _request
    _request = threading.Event()
    try:
        yield _request
    finally:
        _request = None


def _note(number: int, frame: FrameType | None) -> None:
    global _pending, _requested_at
    now = time.monotonic()
    if _request is not None and not _request.is_set():
        _requested_at = now
        _request.set()
        return
    if now - _requested_at < _SECONDS_OF_ONE:
        return
    _pending = True
    _raise_pending()


def _raise_pending() -> None:
    global _pending
    if _pending and not _depth:
        _pending = False
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt
