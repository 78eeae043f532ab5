"""A container's output as it comes: on the terminal, in a file, and never more than a limit."""

import json
import re
import threading
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from submission.budget import format_duration

# What a terminal would take as a command, from a program that nobody has to trust.
ESCAPES = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|.)?")
_LONGEST_LINE = 2000


def plain(text: str) -> str:
    """A stranger's text as one line that no terminal obeys, of at most 2,000 characters."""
    text = ESCAPES.sub("", re.sub(r"[\r\n\t]+", " ", text))
    return "".join(character for character in text if character.isprintable())[:_LONGEST_LINE]


class LiveLog:
    """Shows lines and a progress bar, and keeps the lines in a file.

    Args:
        title: What runs, for the bar.
        seconds: Its wall clock.
        path: The file for the lines.
        most_bytes: How much is taken; `is_full` says when there was more.

    Attributes:
        last_error: The last line without a source that began with `error: `, without that; ""
            when none did.
    """

    def __init__(self, title: str, seconds: float, path: Path, most_bytes: int) -> None:
        self.last_error = ""
        self.is_full = threading.Event()
        self._room = most_bytes
        self._seconds = seconds
        self._pending: dict[str, bytes] = {}
        self._lock = threading.Lock()
        self._fraction: float | None = None
        self._file = path.open("w", encoding="utf-8")
        console = Console()
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn(f"[bold]{title}"),
            BarColumn(20),
            TextColumn("{task.description}"),
            console=console,
            transient=True,
            disable=not self._live,
        )
        self._task = self._progress.add_task("starting", total=1.0)

    def __enter__(self) -> "LiveLog":
        """Starts the bar."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes what is left of the last lines, and ends the bar."""
        for source, rest in self._pending.items():
            self._line(rest, source)
        self._progress.stop()
        self._file.close()

    def feed(self, chunk: bytes, source: str = "") -> None:
        """Takes output, in pieces of any length, from one thread for each source.

        Args:
            chunk: The piece.
            source: Where it comes from, which begins each line of it.
        """
        with self._lock:
            if self.is_full.is_set():
                return
            if len(chunk) > self._room:
                self.is_full.set()
            chunk = chunk[: self._room]
            self._room -= len(chunk)
            # A carriage return rewrites a progress line: each state is a line here.
            *lines, rest = re.split(rb"[\r\n]+", self._pending.get(source, b"") + chunk)
            for line in lines:
                self._line(line, source)
            while len(rest) > _LONGEST_LINE:
                self._line(rest[:_LONGEST_LINE], source)
                rest = rest[_LONGEST_LINE:]
            self._pending[source] = rest
            self._file.flush()

    def tick(self, seconds: float) -> None:
        """Moves the bar."""
        share = min(1.0, seconds / self._seconds) if self._fraction is None else self._fraction
        clock = f"{share:4.0%}  {format_duration(seconds)} of {format_duration(self._seconds)}"
        self._progress.update(self._task, completed=share, description=clock)

    def _line(self, content: bytes, source: str) -> None:
        text = plain(content.decode("utf-8", "replace"))
        if not text.strip():
            return
        if source:
            text = f"{source}: {text}"
        self._file.write(text + "\n")
        if text.startswith("error: "):
            self.last_error = text.removeprefix("error: ")
        if self._is_progress(text) and self._live:
            return
        if self._live:
            self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def _is_progress(self, text: str) -> bool:
        """Whether a line is the challenge's event that tells how far training is."""
        if not text.startswith('{"event_type"'):
            return False
        try:
            payload = json.loads(text)["payload"]
            if "training_progress" not in payload:
                return False
            self._fraction = min(1.0, max(0.0, float(payload["training_progress"])))
        # A number of 400 digits overflows a float, and 1,900 brackets the parser's stack.
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            return False
        return True
