"""A model in its process, as the scorer sees it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import dill
import numpy as np
import pytest
import torch

from evaluator import formats, representations
from evaluator.worker import client
from evaluator.worker.frames import Frame, Kind, of_text, receive, send
from submission.errors import UserError
from tests.evaluator.reading import encode_all, read_representation

PIXELS = np.random.RandomState(0).randint(0, 256, (64, 4, 4, 3)).astype(np.uint8)


def write_dill(folder: Path, function: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / formats.DILL).write_bytes(dill.dumps(function, recurse=True))
    return folder


def folder_of(kind: str, tmp_path: Path, encoder: torch.nn.Module) -> Path:
    folder = tmp_path / "run" / "representation"
    folder.mkdir(parents=True)
    if kind == formats.PYTORCH:
        torch.jit.save(torch.jit.script(encoder), str(folder / kind))
    elif kind == formats.DILL:
        weights = np.random.RandomState(0).standard_normal((48, 5))
        write_dill(folder, lambda images: images.reshape(len(images), -1) @ weights)
    elif kind == formats.EXPORTED:
        example, sizes = (torch.zeros(2, 3, 4, 4),), ({0: torch.export.Dim("n")},)
        torch.export.save(
            torch.export.export(encoder, example, dynamic_shapes=sizes), folder / kind
        )
    else:
        from evaluator.compat import load_tensorflow

        tensorflow = load_tensorflow()
        module = tensorflow.Module()
        module.weights = tensorflow.Variable(np.ones((48, 5), np.float32))
        signature = [tensorflow.TensorSpec([None, 4, 4, 3], tensorflow.float32, "images")]

        @tensorflow.function(input_signature=signature)
        def represent(images):
            return {"default": tensorflow.reshape(images, [-1, 48]) @ module.weights}

        signatures = {"representation": represent}
        tensorflow.saved_model.save(module, str(folder / kind), signatures=signatures)
    return folder


@pytest.mark.parametrize(
    "kind",
    [
        formats.PYTORCH,
        formats.DILL,
        pytest.param(formats.EXPORTED, marks=pytest.mark.slow),
        pytest.param(formats.TFHUB, marks=pytest.mark.slow),
    ],
)
def test_codes_come_through_the_socket_to_the_bit(kind, tmp_path, ground_truth, make_encoder):
    folder = folder_of(kind, tmp_path, make_encoder())
    everything = np.arange(len(ground_truth.dataset.images))
    here = encode_all(ground_truth, read_representation(folder, ground_truth, allow_pickle=True))
    with representations.start(formats.find(folder, allow_pickle=True)) as process:
        apart = encode_all(ground_truth, representations.read(process, ground_truth))
    np.testing.assert_array_equal(apart[everything], here[everything])
    assert apart[everything].dtype == here[everything].dtype


def test_the_worker_sees_neither_the_scorers_environment_nor_its_command_line(
    tmp_path, ground_truth, monkeypatch
):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", "/where/labels/are")
    monkeypatch.setenv("SECRET_TOKEN", "1")

    def seen(images):
        import os
        from pathlib import Path

        names = [name for name in os.environ if "SECRET" in name or "DISENTANGLEMENT" in name]
        try:
            parent = Path(f"/proc/{os.getppid()}/cmdline").read_text()
        except OSError:
            parent = ""
        return np.full((len(images), 2), len(names) + len(parent), np.float32)

    folder = write_dill(tmp_path / "representation", seen)
    with representations.start(folder / formats.DILL) as process:
        codes = representations.read(process, ground_truth).encode(np.zeros((4, 4, 4, 3)))
    assert (codes == 0).all()


def test_a_worker_ends_with_its_context(write_torchscript, make_encoder, ground_truth):
    with client.started(write_torchscript(make_encoder()) / formats.PYTORCH) as worker:
        representations.read(worker, ground_truth)
        process = worker._process
        assert process.poll() is None
    assert process.poll() is not None


SCORER = """
import sys
from pathlib import Path
from evaluator.worker import client
with client.started(Path(sys.argv[1])) as worker:
    worker.reading()
    print(worker._process.pid, flush=True)
    input()
"""


def test_nothing_is_left_when_the_scorer_is_killed(write_torchscript, make_encoder, tmp_path):
    path = write_torchscript(make_encoder()) / formats.PYTORCH
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    (tmp_path / "temporary").mkdir()
    scorer = subprocess.Popen(
        [sys.executable, "-c", SCORER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    worker = int(scorer.stdout.readline())
    scorer.kill()
    scorer.wait()
    for _ in range(100):
        if not alive(worker):
            break
        time.sleep(0.05)
    assert not alive(worker)
    assert list((tmp_path / "temporary").iterdir()) == []


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_a_worker_that_is_killed_is_told_in_one_line(write_torchscript, make_encoder, ground_truth):
    path = write_torchscript(make_encoder()) / formats.PYTORCH
    with client.started(path) as worker:
        representation = representations.read(worker, ground_truth)
        os.kill(worker._process.pid, signal.SIGKILL)
        with pytest.raises(UserError, match="by SIGKILL") as caught:
            representation.encode(np.zeros((4, 4, 4, 3)))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


# A model's process that lies.


def impostor(answers: list[Frame | bytes]) -> client.Worker:
    """A worker whose other end says what a test has it say."""
    ours, theirs = socket.socketpair()
    ready = of_text(Kind.READY, json.dumps({"pixels": True, "parallel": False, "warnings": []}))

    def serve() -> None:
        with theirs:
            send(theirs, ready, None)
            for answer in answers:
                receive(theirs, 2**30, None)
                if isinstance(answer, bytes):
                    theirs.sendall(answer)
                else:
                    send(theirs, answer, None)

    threading.Thread(target=serve, daemon=True).start()
    return client.Worker(Path("theirs"), [ours], None)


def array(*shape: int, value: float = 0.0) -> Frame:
    return Frame(Kind.ARRAY, np.full(shape, value, np.float32))


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ([array(16, 3, value=np.nan)], "not finite"),
        ([array(15, 3)], "15 rows for a batch of 16"),
        ([array(16, 3), array(64, 4)], "4 latents for a batch of 64"),
        ([array(16, 4097)], "1 to 4,096 can be scored"),
        ([array(16, 70000)], "more than it may send"),
        ([array(16, 0)], "no latents"),
        ([array(16, 3, 1)], "rank 3"),
        ([b"garbage" * 10], "no frame"),
        ([b""], "it ended"),
        ([of_text(Kind.READY, "{}")], "no answer"),
        ([of_text(Kind.MISTAKE, "\x1b[2Jtwo\nlines")], "[2Jtwo lines"),
        ([of_text(Kind.FAILURE, "it broke")], "it broke"),
    ],
)
def test_what_is_no_answer_is_one_line(ground_truth, answers, line):
    with pytest.raises(UserError) as caught:
        representations.read(impostor(answers), ground_truth)
    assert line in str(caught.value)
    assert str(caught.value).isprintable()


def test_who_says_nothing_of_the_model_is_told():
    ours, theirs = socket.socketpair()
    with theirs:
        send(theirs, of_text(Kind.READY, "[1]"), None)
    with pytest.raises(UserError, match="no answer"):
        client.Worker(Path("theirs"), [ours], None).reading()


def test_a_scorer_waits_for_a_worker_that_somebody_else_starts(
    write_torchscript, make_encoder, ground_truth, tmp_path
):
    path = write_torchscript(make_encoder()) / formats.PYTORCH
    place = tmp_path / "socket"
    command = [sys.executable, "-m", "evaluator.worker", str(path), "--connect", str(place)]
    other = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    everything = np.arange(len(ground_truth.dataset.images))
    with representations.start(path, worker=place) as process:
        representation = representations.read(process, ground_truth)
        assert representation.parallel
        codes = encode_all(ground_truth, representation)[everything]
    expected = encode_all(ground_truth, read_representation(path, ground_truth))[everything]
    np.testing.assert_array_equal(codes, expected)
    assert other.wait(10) == 0
    assert not place.exists()
