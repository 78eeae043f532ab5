"""What a person, or the portal, sees of a running training."""

import json
import os
import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from submission.budget import format_duration

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_EVENTS = 60.0
RESTARTS = "restarts"
"""What a display is closed with where another process goes on with the run."""
_REDIS_TIMEOUT = 5.0


class Display(Protocol):
    """Shows how far a run is."""

    def update(self, phase: str, fraction: float, details: str) -> None:
        """Shows the phase, the fraction of the budget that is spent, and details in words."""

    def note(self, text: str) -> None:
        """Prints a line that stays."""

    def close(self, status: str) -> None:
        """Ends the display.

        Args:
            status: The record's, or `RESTARTS`.
        """


class BarDisplay:
    """A progress bar, for terminals."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("[bold]{task.description:<11}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[details]}"),
            console=console,
        )
        self._task: TaskID | None = None

    def update(self, phase: str, fraction: float, details: str) -> None:
        """See `Display`."""
        if self._task is None:
            self._progress.start()
            self._task = self._progress.add_task(phase, total=1.0, details=details)
        self._progress.update(self._task, completed=fraction, description=phase, details=details)

    def note(self, text: str) -> None:
        """See `Display`."""
        self._progress.console.print(text, highlight=False, markup=False)

    def close(self, status: str) -> None:
        """See `Display`."""
        self._progress.stop()


class LineDisplay:
    """Plain lines, a few a minute, for files and pipes."""

    def __init__(self) -> None:
        self._next = 0.0

    def update(self, phase: str, fraction: float, details: str) -> None:
        """See `Display`."""
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + SECONDS_BETWEEN_LINES
            self.note(f"{phase:<11} {fraction:4.0%}  {details}")

    def note(self, text: str) -> None:
        """See `Display`."""
        print(text, flush=True)

    def close(self, status: str) -> None:
        """See `Display`."""


class PortalDisplay(LineDisplay):
    """Plain lines, and the challenge's progress events.

    An event is a JSON object that the portal takes from a Redis list; the names are those of the
    challenge's starter kit. AIcrowd's own client waits without end for a server that isn't there,
    so events are sent with a time limit and, once that failed, only printed: they must never
    cost a run.

    Args:
        goes_on: Whether a process that crashed has told of the start.
    """

    def __init__(self, goes_on: bool) -> None:
        super().__init__()
        self._next_event = 0.0
        self._send_to_redis = "AICROWD_REDIS_HOST" in os.environ
        if not goes_on:
            self._event("AICROWD_EVENT_INFO", "execution_started", {})

    def update(self, phase: str, fraction: float, details: str) -> None:
        """See `Display`."""
        super().update(phase, fraction, details)
        if time.monotonic() >= self._next_event:
            self._next_event = time.monotonic() + SECONDS_BETWEEN_EVENTS
            self._register_progress(fraction)

    def close(self, status: str) -> None:
        """See `Display`."""
        if status == RESTARTS:
            return
        if status == "failed":
            self._event("AICROWD_EVENT_ERROR", "execution_error", {})
            return
        self._register_progress(1.0)
        self._event("AICROWD_EVENT_SUCCESS", "submit", {})

    def _register_progress(self, fraction: float) -> None:
        clipped = min(max(fraction, 0.0), 1.0)
        self._event("AICROWD_EVENT_INFO", "register_progress", {"training_progress": clipped})

    def _event(self, kind: str, name: str, payload: dict[str, float]) -> None:
        event = {
            "event_type": kind,
            "agent_id": os.environ.get("AICROWD_AGENT_ID", "undefined"),
            "message": name,
            "payload": {"event_type": f"disentanglement_challenge:{name}", **payload},
        }
        text = json.dumps(event)
        print(text, flush=True)
        if self._send_to_redis:
            self._push(text)

    def _push(self, text: str) -> None:
        import redis

        channel = "AICROWD_REDIS_COMMUNICATION_CHANNEL"
        try:
            client = redis.Redis(
                host=os.environ["AICROWD_REDIS_HOST"],
                port=int(os.environ.get("AICROWD_REDIS_PORT", "6379")),
                db=int(os.environ.get("AICROWD_REDIS_DB", "0")),
                password=os.environ.get("AICROWD_REDIS_PASSWORD"),
                socket_timeout=_REDIS_TIMEOUT,
                socket_connect_timeout=_REDIS_TIMEOUT,
            )
            client.lpush(os.environ.get(channel, channel), text)
        except (redis.RedisError, ValueError) as error:
            self._send_to_redis = False
            print(f"the portal's event server can't be reached ({error}): events are only printed")


def choose_display(is_grading: bool, goes_on: bool) -> Display:
    """Events on the portal, a bar on a terminal, lines elsewhere.

    Args:
        is_grading: Whether this is the portal.
        goes_on: Whether this process goes on with a run that crashed.
    """
    if is_grading:
        return PortalDisplay(goes_on)
    console = Console()
    return BarDisplay(console) if console.is_terminal and sys.stdout.isatty() else LineDisplay()


def describe_step(
    step: int, planned: int, seconds_left: float, steps_per_second: float, terms: dict[str, float]
) -> str:
    """The details of a training step in one line."""
    losses = "  ".join(
        f"{name} {terms[name]:.4g}" for name in ("loss", "reconstruction", "kl") if name in terms
    )
    left = format_duration(max(0.0, seconds_left))
    return f"step {step}/{planned}  {left} left  {steps_per_second:.1f} steps/s  {losses}"
