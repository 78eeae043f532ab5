"""Ctrl-C and its like, held back while a container is being made or removed."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_depth = 0
_pending = False


def install() -> None:
    """Makes the first SIGINT, SIGTERM or SIGHUP raise `KeyboardInterrupt`, after what is shielded.

    Later ones do nothing: what they would cut short is the cleaning up.
    """
    for number in _SIGNALS:
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


def _note(number: int, frame: FrameType | None) -> None:
    global _pending
    _pending = True
    _raise_pending()


def _raise_pending() -> None:
    global _pending
    if _pending and not _depth:
        _pending = False
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt
