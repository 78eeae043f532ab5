"""Standard output and standard error that may break without breaking the work."""

import io
import os
import sys
from typing import TextIO


class _Lenient(io.FileIO):
    """A file whose writes never fail: what can't be written is dropped."""

    def write(self, content, /) -> int:  # type: ignore[no-untyped-def]
        """See `io.FileIO`."""
        try:
            # None: a full pipe that doesn't block.
            return super().write(content) or len(content)
        except OSError:
            return len(content)


def never_fail() -> None:
    """Lets this process go on without its output: after `| head -1`, a dead ssh, a full disk."""
    sys.stdout = _lenient(sys.stdout)
    sys.stderr = _lenient(sys.stderr)


def _lenient(stream: TextIO | None) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        # Closed before the start, as by `>&-`.
        return stream or open(os.devnull, "w")
    stream.flush()
    file = _Lenient(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        # Python's own stream has no buffer either where it is to be unbuffered (python -u).
        file if stream.write_through else io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
