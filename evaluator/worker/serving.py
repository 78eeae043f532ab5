"""What the confined process does: reads a model, and answers what the scorer asks it.

Only here does a stranger's code run.
"""

import functools
import json
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evaluator.worker import readers
from evaluator.worker.frames import (
    LARGEST_NUMBER,
    LARGEST_PARAMETER,
    MOST_AXES,
    BrokenFrameError,
    Frame,
    Kind,
    of_text,
    receive,
    send,
)
from evaluator.worker.readers import Encode, EncodePixels, Reading, one_line
from submission.datasets.pixels import in_unit_range
from submission.errors import UserError

# Of a request.
_MOST_BYTES = 2**32

Answer = Callable[[Frame], np.ndarray]


def serve(model: Path, connections: list[socket.socket]) -> None:
    """Reads a model, says so, and answers until the scorer ends; then this process ends too.

    Args:
        model: What `evaluator.formats.find` found.
        connections: The first is for what is asked one by one, the others for what is asked in
            parallel.
    """
    answers: dict[Kind, Answer] = {}
    fast = None
    try:
        reading = readers.read(model)
        answers, fast = _answers(reading), reading.fast
        told = {
            "pixels": reading.encode_pixels is not None,
            "parallel": fast is not None,
            "warnings": reading.warnings,
        }
        first = of_text(Kind.READY, json.dumps(told))
    except UserError as error:
        first = of_text(Kind.MISTAKE, str(error))
    except MemoryError:
        first = of_text(Kind.MISTAKE, f"{model} takes more memory than there is")
    if fast is not None:
        for one in connections[1:]:
            threading.Thread(
                target=_serve_in_parallel, args=(one, model, fast), daemon=True
            ).start()
    send(connections[0], first, None)
    _serve(connections[0], model, answers)


def serve_autoencoders(files: list[Path], connection: socket.socket) -> None:
    """Answers for several models, each of which is read when it is first asked.

    Args:
        files: Encoder and decoder of each, TorchScript.
        connection: Where the requests come from.
    """
    read_encoder = functools.cache(readers.read)
    cached = functools.cache(readers.read_decoder)

    def read_decoder(request: Frame) -> readers.Decoder:
        return cached(files[2 * request.number + 1])

    answers: dict[Kind, Answer] = {
        Kind.IMAGES: lambda request: read_encoder(files[2 * request.number]).encode(request.array),
        Kind.CODES: lambda request: read_decoder(request).decode(request.array),
        Kind.PARAMETER: lambda request: _parameter(read_decoder(request), int(request.array[0])),
    }
    _serve(connection, files[0], answers)


def _parameter(decoder: readers.Decoder, place: int) -> np.ndarray:
    if place >= len(decoder.parameters):
        raise UserError(f"the decoder has {len(decoder.parameters)} parameters")
    parameter = decoder.parameters[place]
    if parameter.numel() > LARGEST_PARAMETER:
        raise UserError(f"the decoder has a parameter of {parameter.numel():,} numbers")
    return parameter.detach().float().numpy()


def _answers(reading: Reading) -> dict[Kind, Answer]:
    answers: dict[Kind, Answer] = {
        Kind.IMAGES: lambda request: reading.encode(request.array),
        Kind.PIXELS_AS_FLOAT32: _of_floats(reading.encode, np.float32),
        Kind.PIXELS_AS_FLOAT64: _of_floats(reading.encode, np.float64),
    }
    if reading.encode_pixels is not None:
        answers[Kind.PIXELS] = _of_pixels(reading.encode_pixels)
    return answers


def _of_floats(encode: Encode, dtype: type[np.floating]) -> Answer:
    return lambda request: encode(in_unit_range(request.array, request.number, dtype))


def _of_pixels(encode_pixels: EncodePixels) -> Answer:
    return lambda request: encode_pixels(request.array, request.number)


def _serve_in_parallel(connection: socket.socket, model: Path, fast: EncodePixels) -> None:
    import torch

    # A batch is too small for several threads to share: each encodes batches of its own.
    torch.set_num_threads(1)
    _serve(connection, model, {Kind.PIXELS_IN_PARALLEL: _of_pixels(fast)})


def _serve(connection: socket.socket, model: Path, answers: dict[Kind, Answer]) -> None:
    """Answers until the scorer ends."""
    try:
        while True:
            request = receive(connection, _MOST_BYTES, None)
            send(connection, _answer(model, answers[request.kind], request), None)
    except BrokenFrameError:
        # Without Python's own end, in which a stranger's threads would be waited for.
        os._exit(0)


def _answer(model: Path, answer: Answer, request: Frame) -> Frame:
    try:
        array = answer(request)
        if array.dtype.kind not in "fiub" or array.dtype.itemsize > LARGEST_NUMBER:
            raise UserError(f"{model} returns {array.dtype}, not numbers of 64 bits or fewer")
        if array.ndim > MOST_AXES:
            raise UserError(f"{model} returns an array of rank {array.ndim}")
        return Frame(Kind.ARRAY, array.astype(array.dtype.newbyteorder("="), copy=False))
    except UserError as error:
        return of_text(Kind.MISTAKE, str(error))
    except (Exception, SystemExit) as error:
        return of_text(Kind.FAILURE, one_line(error))
