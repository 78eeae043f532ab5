"""The losses by step, as CSV for the report and as TensorBoard scalars."""

import csv
import io
import time
from pathlib import Path
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.summary import scalar

from submission.runs.files import write_text

Row = dict[str, Any]
_FIRST_COLUMNS = (
    "phase",
    "step",
    "seconds",
    "epoch",
    "loss",
    "reconstruction",
    "kl",
    "capacity",
    "learning_rate",
)


class History:
    """Rows of scalars, kept in memory and written whole.

    TensorBoard's events are written in place, without tensorboardX's usual background thread: on a
    full disk that thread dies, and the next scalar then waits for it without end.

    Args:
        csv_path: The CSV file.
        tensorboard: The folder of TensorBoard's event files.
        rows: Rows of the same run's earlier processes.
    """

    def __init__(self, csv_path: Path, tensorboard: Path, rows: list[Row] | None = None) -> None:
        self.csv_path = csv_path
        self.rows = rows or []
        tensorboard.mkdir(parents=True, exist_ok=True)
        self._events: EventsWriter | None = EventsWriter(str(tensorboard / "events"))

    def add(self, row: Row) -> None:
        """Adds a row; `phase` and `step` say where it belongs."""
        self.rows.append(row)
        try:
            self._add_events(row)
        except OSError:
            # A full disk: the CSV, which is tried anew each time, is what counts.
            self._events = None

    def _add_events(self, row: Row) -> None:
        if self._events is None:
            return
        for name, value in row.items():
            if name not in ("phase", "step"):
                summary = scalar(f"{row['phase']}/{name}", value)
                event = Event(wall_time=time.time(), step=row["step"], summary=summary)
                self._events.write_event(event)
        self._events.flush()

    def write(self) -> None:
        """Writes the CSV atomically. Columns that only some rows have are empty in the others."""
        further = sorted({name for row in self.rows for name in row} - set(_FIRST_COLUMNS))
        text = io.StringIO()
        writer = csv.DictWriter(text, [*_FIRST_COLUMNS, *further], lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            writer.writerow({name: _short(value) for name, value in row.items()})
        write_text(self.csv_path, text.getvalue())

    def close(self) -> None:
        """Ends the TensorBoard file."""
        if self._events is not None:
            self._events.close()


def _short(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
