"""The protocol, whatever the other side sends."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from evaluator.worker.frames import BrokenFrameError, Frame, Kind, of_text, receive, send

MOST = 2**16


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon(seconds: float = 5.0) -> float:
    return time.monotonic() + seconds


def exchanged(frame: Frame) -> Frame:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send(theirs, frame, soon())
        return receive(ours, MOST, soon())


numbers = st.sampled_from([np.dtype(name) for name in ("u1", "i8", "f2", "f4", "f8", "?")])


@settings(deadline=None)
@given(arrays.arrays(numbers, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5)))
def test_an_array_arrives_to_the_bit(array: np.ndarray) -> None:
    found = exchanged(Frame(Kind.ARRAY, array, 255))
    assert (found.kind, found.number) == (Kind.ARRAY, 255)
    assert (found.array.dtype, found.array.shape) == (array.dtype, array.shape)
    assert found.array.tobytes() == array.tobytes()


@given(st.text(max_size=100))
def test_a_text_arrives(text: str) -> None:
    sent = text.encode(errors="surrogatepass").decode(errors="replace")
    assert exchanged(of_text(Kind.MISTAKE, sent)).text == sent


def test_a_long_text_is_cut() -> None:
    assert len(exchanged(of_text(Kind.FAILURE, "x" * 10**6)).text) == 8192


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_whatever_bytes_come_a_frame_is_made_or_refused(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(sent)
        try:
            found = receive(ours, MOST, soon())
        except BrokenFrameError:
            return
        assert found.array.nbytes <= MOST


def header(kind: int = 17, dtype: int = 9, rank: int = 2, sizes: tuple[int, ...] = (2, 3)) -> bytes:
    padded = (*sizes, *[1] * (4 - len(sizes)))
    return struct.pack("<4BI4I", kind, dtype, rank, 0, 0, *padded)


@pytest.mark.parametrize(
    "sent",
    [
        header(kind=99),
        header(dtype=200),
        header(rank=7),
        header(sizes=(2**32 - 1, 2**32 - 1)),
        header(sizes=(MOST, 1)),
        header(kind=16, dtype=0, rank=1, sizes=(8193,)),
    ],
)
def test_a_frame_that_can_not_be_is_refused_before_room_is_made(ends, sent: bytes) -> None:
    ours, theirs = ends
    theirs.sendall(sent)
    with pytest.raises(BrokenFrameError):
        receive(ours, MOST, soon())


@pytest.mark.parametrize("sent", [b"", header()[:10], header() + b"\0" * 23])
def test_an_end_in_the_middle_is_told(ends, sent: bytes) -> None:
    ours, theirs = ends
    theirs.sendall(sent)
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenFrameError, match="it ended"):
        receive(ours, MOST, soon())


def test_silence_is_told(ends) -> None:
    start = time.monotonic()
    with pytest.raises(BrokenFrameError, match="silent"):
        receive(ends[0], MOST, soon(0.2))
    assert time.monotonic() - start < 2


def test_bytes_that_drip_have_no_longer_than_the_rest(ends) -> None:
    """Each arrives in time, and all together don't."""
    ours, theirs = ends
    stop = threading.Event()

    def drip() -> None:
        for byte in header() + b"\0" * 24:
            theirs.sendall(bytes([byte]))
            if stop.wait(0.05):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    with pytest.raises(BrokenFrameError, match="silent"):
        receive(ours, MOST, soon(0.5))
    stop.set()
    thread.join()


def test_who_takes_nothing_is_not_waited_for_without_end(ends) -> None:
    with pytest.raises(BrokenFrameError):
        send(ends[0], Frame(Kind.IMAGES, np.zeros((4096, 4096))), soon(0.3))


@pytest.mark.parametrize("array", [np.zeros((1,) * 5), np.zeros(2, complex), np.array(["a"])])
def test_what_no_frame_can_hold_is_not_sent(ends, array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="can't be sent"):
        send(ends[0], Frame(Kind.ARRAY, array), soon())
