"""Shows how far an evaluation is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from evaluator.representations import Representation


@contextmanager
def watched(
    console: Console, representation: Representation
) -> Iterator[tuple[Representation, Callable[[str], None]]]:
    """Shows how long each metric has run and what it has encoded: a live line, or one a minute.

    Args:
        console: Where it is shown.
        representation: What is watched.

    Yields:
        The representation, watched, and a function to call with the name of what begins.
    """
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    live = (console.is_terminal or console.is_jupyter) and not console.quiet
    period = 0.2 if live else 60.0
    with Progress(*columns, console=console, transient=True, disable=not live) as progress:
        task = progress.add_task("")
        name, encoded, shown = "", 0, time.monotonic()

        def begin(what: str) -> None:
            nonlocal name, encoded, shown
            name, encoded, shown = what, 0, time.monotonic()
            progress.reset(task, description=what)

        def count(images: int) -> None:
            nonlocal encoded, shown
            encoded += images
            if time.monotonic() - shown > period:
                shown = time.monotonic()
                state = f"{name}: {encoded:,} images encoded"
                progress.update(task, description=state)
                if not live:
                    console.print(state)

        yield representation.counted(count), begin
