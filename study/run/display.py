"""What a person sees of a running study: a line for each run that ended, and a live one."""

import sys
from collections.abc import Callable

from rich.console import Console
from rich.status import Status
from rich.text import Text


class Display:
    """Lines that stay; on a terminal, also one below them that changes."""

    def __init__(self) -> None:
        # Now, since what else prints may be sent elsewhere later.
        self._file = sys.stdout
        self._console = Console(file=self._file, markup=False, highlight=False, soft_wrap=True)
        self._live: Status | None = None
        if self._console.is_terminal and self._file.isatty():
            self._live = self._console.status("")
            self._live.start()

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self._console.print(text)
        # A log file must have each line as it is printed.
        self._file.flush()

    def update(self, describe: Callable[[], str]) -> None:
        """Shows what goes on now, on a terminal; `describe` is not called elsewhere."""
        if self._live is not None:
            self._live.update(Text(describe(), no_wrap=True, overflow="ellipsis"))

    def close(self) -> None:
        """Removes the live line."""
        if self._live is not None:
            self._live.stop()
