"""Progress of long reads, renders and downloads: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def progress(
    description: str, total: int | None, unit: str, done: int = 0
) -> Iterator[Callable[[int], None]]:
    """Shows how far a long step is, on standard error.

    Args:
        description: What is done, and to which file.
        total: How much there is; None when unknown.
        unit: What is counted, such as "images" or "B".
        done: How much an earlier run has done already.

    Yields:
        A function to call with the amount done since its last call.
    """
    if sys.stderr.isatty():
        with tqdm(
            desc=description, total=total, unit=unit, initial=done, unit_scale=True
        ) as terminal_bar:
            yield lambda amount: _discard(terminal_bar.update(amount))
        return
    began = last = time.monotonic()

    def advance(amount: int) -> None:
        nonlocal done, last
        done += amount
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES:
            last = now
            share = f" ({done / total:.0%})" if total else ""
            print(f"{description}: {done:,} {unit}{share}", file=sys.stderr, flush=True)

    yield advance
    seconds = time.monotonic() - began
    print(f"{description}: {done:,} {unit} in {seconds:.1f} s", file=sys.stderr, flush=True)


def _discard(_: object) -> None:
    """Drops tqdm's return value, which no caller may rely on."""
