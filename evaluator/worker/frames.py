"""What the scorer and a model's worker send each other over a Unix socket: arrays, and lines.

A frame is a header of 24 bytes and its payload. Nothing of what the other side says is believed:
kind, number type, rank and size are checked before room is made, and the numbers are copied into
the receiver's own memory.
"""

import socket
import struct
import time
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

# Kind, number type, rank, nothing, the number, and the sizes of four axes.
_HEADER = struct.Struct("<4BI4I")
_DTYPES = [np.dtype(name) for name in ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")]
_DTYPES += [np.dtype(name) for name in ("f2", "f4", "f8", "?")]
MOST_AXES = 4
LARGEST_NUMBER = 8
LARGEST_PARAMETER = 2**24
_MOST_TEXT = 8192


class Kind(IntEnum):
    """What a frame is: seven requests, and four answers."""

    # [n, h, w, c] in [0, 1], floats as they are.
    IMAGES = 1
    # [n, h, w, c], uint8; the number is the value that means 1.0.
    PIXELS = 2
    # The same, encoded by a thread that has others beside it.
    PIXELS_IN_PARALLEL = 3
    # The same, which the worker turns into IMAGES of that type.
    PIXELS_AS_FLOAT32 = 4
    PIXELS_AS_FLOAT64 = 5
    # [n, latents], float32, for a decoder; here and in IMAGES the number says which model's.
    CODES = 6
    # [1], which of a decoder's parameters; the number says which model's.
    PARAMETER = 7
    READY = 16
    ARRAY = 17
    # A user's mistake, in a line that tells it; and any other error of the model.
    MISTAKE = 18
    FAILURE = 19


class BrokenFrameError(Exception):
    """The other side ended, was silent for too long, or sent what is no frame."""


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        kind: What it is.
        array: Its payload: at most four axes; the bytes of a text are [n], uint8.
        number: See `Kind`.
    """

    kind: Kind
    array: np.ndarray
    number: int = 0

    @property
    def text(self) -> str:
        """The payload of READY, MISTAKE and FAILURE."""
        return self.array.tobytes().decode(errors="replace")


def of_text(kind: Kind, text: str) -> Frame:
    """A frame of a text, cut where it is too long."""
    return Frame(kind, np.frombuffer(text.encode()[:_MOST_TEXT], np.uint8))


def send(connection: socket.socket, frame: Frame, deadline: float | None) -> None:
    """Sends a frame.

    Args:
        connection: A Unix stream socket.
        frame: The message.
        deadline: When to give up, of `time.monotonic`; None never does.

    Raises:
        BrokenFrameError: The other side has ended, or takes nothing.
        ValueError: The payload has more than four axes, or numbers of another type.
    """
    array = np.asarray(frame.array, order="C")
    if array.ndim > MOST_AXES or array.dtype not in _DTYPES:
        raise ValueError(f"{array.dtype} of rank {array.ndim} can't be sent")
    sizes = (*array.shape, *[1] * (MOST_AXES - array.ndim))
    header = _HEADER.pack(
        frame.kind, _DTYPES.index(array.dtype), array.ndim, 0, frame.number, *sizes
    )
    try:
        _wait_until(connection, deadline)
        connection.sendall(header)
        _wait_until(connection, deadline)
        connection.sendall(array.reshape(-1).view(np.uint8).data)
    except OSError as error:
        raise _broken(error) from error


def receive(connection: socket.socket, most_bytes: int, deadline: float | None) -> Frame:
    """Takes a frame.

    Args:
        connection: A Unix stream socket.
        most_bytes: Of an array's payload; a text has 8 KiB at most.
        deadline: When to give up, of `time.monotonic`; None never does.

    Returns:
        The message, in memory of its own.

    Raises:
        BrokenFrameError: There is none, whole and within the limits, in time.
    """
    header = np.empty(_HEADER.size, np.uint8)
    _fill(connection, header, deadline)
    kind, dtype, rank, _, number, *sizes = _HEADER.unpack(header.data)
    if kind not in list(Kind) or dtype >= len(_DTYPES) or rank > MOST_AXES:
        raise BrokenFrameError("it sent what is no frame")
    shape = sizes[:rank]
    # Python's integers don't overflow.
    size = _DTYPES[dtype].itemsize
    for length in shape:
        size *= length
    is_text = kind in (Kind.READY, Kind.MISTAKE, Kind.FAILURE)
    if size > (_MOST_TEXT if is_text else most_bytes):
        raise BrokenFrameError(f"it announced {shape} numbers, more than it may send")
    payload = np.empty(size, np.uint8)
    _fill(connection, payload, deadline)
    return Frame(Kind(kind), payload.view(_DTYPES[dtype]).reshape(shape), number)


def _fill(connection: socket.socket, payload: np.ndarray, deadline: float | None) -> None:
    view = payload.data
    try:
        while view:
            _wait_until(connection, deadline)
            count = connection.recv_into(view, 0, socket.MSG_WAITALL)
            if not count:
                raise BrokenFrameError("it ended")
            view = view[count:]
    except OSError as error:
        raise _broken(error) from error


def _wait_until(connection: socket.socket, deadline: float | None) -> None:
    """However slowly bytes come, all of them have to come before the deadline."""
    if deadline is None:
        return
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    connection.settimeout(left)


def _broken(error: OSError) -> BrokenFrameError:
    if isinstance(error, TimeoutError):
        return BrokenFrameError("it was silent for too long")
    return BrokenFrameError("it ended")
