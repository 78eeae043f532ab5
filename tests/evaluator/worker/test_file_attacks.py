"""The attacks on files that take no pickle, natively: nothing is read and nothing is written."""

import json
import socket
from pathlib import Path

import dill
import numpy as np
import pytest
import torch
from torch import nn

from evaluator import formats, representations
from evaluator.worker import confinement, landlock
from evaluator.worker.confinement import BUBBLEWRAP
from evaluator.worker.operations import file_operations
from submission.errors import UserError
from tests.evaluator.worker.attacks import (
    Overwrites,
    Reads,
    Saves,
    SavesWhenRead,
    Swells,
    write_saved_model,
    write_torchscript,
)
from tests.evaluator.worker.child import missing, run

pytestmark = pytest.mark.skipif(landlock.version() == 0, reason="this kernel has no Landlock")

READS_TORCHSCRIPT = """
import json, sys
from pathlib import Path
from evaluator.worker import confinement

confined, models = json.loads(sys.argv[1])
if confined:
    confinement.confine([Path(model) for model in models], 4 * 2**30)
import torch

told = {}
for model in models:
    try:
        told[model] = torch.jit.load(model)(torch.ones(2, 3, 4, 4)).tolist()
    except Exception as error:
        told[model] = f"{type(error).__name__}: {error}"
print(json.dumps(told))
"""


# Free, they show that these are attacks.
FREE = pytest.param(False, marks=pytest.mark.slow, id="free")


@pytest.fixture(scope="module", params=[pytest.param(True, id="confined"), FREE])
def torchscript(request, tmp_path_factory):
    """What became of each attack, and of an encoder, in one process."""
    folder = tmp_path_factory.mktemp("attacks")
    for name in ("overwritten", "read"):
        (folder / name).write_text("secret")
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5)).eval()
    models = {
        "overwritten": Overwrites(str(folder / "overwritten")),
        "read": Reads(str(folder / "read")),
        "saved": Saves(str(folder / "saved")),
        "saved when read": SavesWhenRead(str(folder / "saved when read")),
        "encoder": encoder,
    }
    if request.param:
        models["swollen"] = Swells()
    paths = {
        name: write_torchscript(module, folder / f"{name}.pt") for name, module in models.items()
    }
    # Writing the fourth runs nothing, so that what is there was made by reading it.
    assert not (folder / "saved when read").exists()
    given = json.dumps([request.param, [str(path) for path in paths.values()]])
    told = json.loads(run(READS_TORCHSCRIPT, given))
    with torch.no_grad():
        expected = encoder(torch.ones(2, 3, 4, 4)).tolist()
    return request.param, folder, {name: told[str(path)] for name, path in paths.items()}, expected


def test_a_torchscript_model_overwrites_no_file(torchscript):
    confined, folder, told, _ = torchscript
    assert (folder / "overwritten").read_text() == ("secret" if confined else "!!!!!!")
    assert ("Permission denied" in told["overwritten"]) == confined


def test_a_torchscript_model_reads_no_file(torchscript):
    confined, _, told, _ = torchscript
    assert (told["read"] == [list(b"secret")] * 2) == (not confined)


@pytest.mark.parametrize("name", ["saved", "saved when read"])
def test_a_torchscript_model_makes_no_file(torchscript, name):
    confined, folder, told, _ = torchscript
    assert (folder / name).exists() == (not confined)
    # PyTorch doesn't look whether a file was written.
    assert told[name] == [[1.0] * 48] * 2


def test_a_model_that_takes_more_memory_than_it_may_ends_in_an_error(torchscript):
    confined, _, told, _ = torchscript
    if not confined:
        pytest.skip("the machine's memory would be its limit")
    assert "can't allocate memory" in told["swollen"]


def test_an_encoder_gives_the_same_bits_when_it_is_confined(torchscript):
    _, _, told, expected = torchscript
    assert told["encoder"] == expected


READS_SAVED_MODEL = """
import json, sys
from pathlib import Path
from evaluator.worker import confinement

confined, model = json.loads(sys.argv[1])
if confined:
    confinement.confine([Path(model)], 4 * 2**30)
from evaluator.compat import load_tensorflow

tensorflow = load_tensorflow()
represent = tensorflow.saved_model.load(model).signatures["representation"]
try:
    told = represent(images=tensorflow.zeros([1, 4, 4, 3]))["default"].numpy().tolist()
except Exception as error:
    told = f"{type(error).__name__}: {error}"
print(json.dumps(told))
"""


@pytest.mark.slow
@pytest.mark.parametrize("confined", [True, False], ids=["confined", "free"])
def test_a_saved_model_reads_and_writes_no_file(tmp_path, confined):
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text("secret")
    model = write_saved_model(tmp_path / "tfhub", str(secret), str(made))
    assert {"the operator ReadFile", "the operator WriteFile"} <= set(file_operations(model))
    told = json.loads(run(READS_SAVED_MODEL, json.dumps([confined, str(model)])))
    if confined:
        assert "PermissionDeniedError" in told
        assert not made.exists()
    else:
        assert told == [[6.0] * 48]
        assert made.read_text() == "secret"


def attempts(secret: str, made: str, port: int):
    """A function whose codes are how many succeed of the things that a dilled one may try."""

    def encode(images):
        import multiprocessing
        import os
        import signal
        import socket
        import subprocess
        import sys
        from pathlib import Path

        parent = os.getppid()
        tried = (
            lambda: Path(secret).read_text(),
            lambda: Path(f"/proc/{parent}/environ").read_bytes(),
            lambda: Path(f"/proc/{parent}/cmdline").read_bytes(),
            lambda: Path(made).write_text("x"),
            lambda: Path("/dev/shm/confined").write_text("x"),
            lambda: Path(secret).write_text("x"),
            lambda: os._exit(0) if os.fork() == 0 else None,
            lambda: subprocess.run([sys.executable, "-c", ""], check=True),
            lambda: multiprocessing.get_context("fork").Process(target=print).start(),
            lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),
            lambda: os.kill(parent, signal.SIGKILL),
            lambda: socket.create_connection(("127.0.0.1", port), 5),
            lambda: socket.socket(socket.AF_UNIX).connect("\0confined"),
        )
        succeeded = 0
        for one in tried:
            try:
                one()
            except Exception:
                continue
            succeeded += 1
        return images.reshape(len(images), -1)[:, :2] * 0 + succeeded

    return encode


@pytest.fixture
def start(tmp_path):
    """Starts a model in its process, as `python -m evaluator` does."""
    folder = tmp_path / "representation"
    folder.mkdir()
    return folder, lambda: representations.start(formats.find(folder, allow_pickle=True))


def test_a_dilled_function_does_nothing_but_compute(tmp_path, start, ground_truth):
    folder, started = start
    secret, made = tmp_path / "secret", tmp_path / "made"
    secret.write_text("labels")
    images = ground_truth.sample_observations(3, np.random.RandomState(0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        function = attempts(str(secret), str(made), listener.getsockname()[1])
        (folder / formats.DILL).write_bytes(dill.dumps(function, recurse=True))
        with started() as process:
            codes = representations.read(process, ground_truth).encode(images)
    assert codes.tolist() == [[0, 0]] * 3
    assert secret.read_text() == "labels"
    assert not made.exists() and not Path("/dev/shm/confined").exists()


@pytest.mark.skipif(missing(BUBBLEWRAP) is not None, reason="bubblewrap is missing")
def test_a_model_is_read_behind_bubblewrap(start, ground_truth, monkeypatch):
    folder, started = start
    monkeypatch.setattr(confinement, "kind", lambda: BUBBLEWRAP)

    def encode(images):
        import os

        # That of bubblewrap itself, in the table of processes that it makes.
        return images.reshape(len(images), -1)[:, :1] * 0 + os.getppid()

    (folder / formats.DILL).write_bytes(dill.dumps(encode, recurse=True))
    images = ground_truth.sample_observations(3, np.random.RandomState(0))
    with started() as process:
        codes = representations.read(process, ground_truth).encode(images)
    assert codes.tolist() == [[1]] * 3


@pytest.mark.parametrize(
    "attack",
    [
        *(pytest.param(one, marks=pytest.mark.slow) for one in (Overwrites, Reads, Saves)),
        SavesWhenRead,
    ],
)
def test_the_evaluator_reads_and_writes_nothing_for_a_model(tmp_path, start, ground_truth, attack):
    folder, started = start
    path = tmp_path / "file"
    if attack in (Overwrites, Reads):
        path.write_text("secret")
    write_torchscript(attack(str(path)), folder / formats.PYTORCH)
    try:
        with started() as process:
            images = ground_truth.sample_observations(3, np.random.RandomState(0))
            codes = representations.read(process, ground_truth).encode(images)
            assert codes.shape == (3, 48)
    except UserError as error:
        assert "Permission denied" in str(error)
    assert path.exists() == (attack in (Overwrites, Reads))
    assert not path.exists() or path.read_text() == "secret"


def test_an_onnx_model_is_read_with_the_weights_beside_it(start, ground_truth):
    onnx = pytest.importorskip("onnx")
    folder, started = start
    path = folder / formats.ONNX
    module = nn.Sequential(nn.Flatten(), nn.Linear(48, 6)).eval()
    torch.onnx.export(
        module,
        (torch.ones(2, 3, 4, 4),),
        str(path),
        input_names=["images"],
        dynamic_axes={"images": {0: "n"}},
        dynamo=False,
    )
    onnx.save_model(
        onnx.load(path), path, save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    assert (folder / "weights.bin").stat().st_size >= 4 * 48 * 6
    images = ground_truth.sample_observations(3, np.random.RandomState(0))
    with started() as process:
        codes = representations.read(process, ground_truth).encode(images)
    with torch.no_grad():
        expected = module(torch.from_numpy(np.moveaxis(images, 3, 1)).float())
    np.testing.assert_allclose(codes, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [formats.PYTORCH, formats.DILL])
def test_where_nothing_hides_files_a_model_that_names_them_is_refused(
    tmp_path, start, monkeypatch, name
):
    folder, started = start
    if name == formats.PYTORCH:
        write_torchscript(SavesWhenRead(str(tmp_path / "made")), folder / name)
    else:
        (folder / name).write_bytes(dill.dumps(lambda images: images))
    monkeypatch.setattr(confinement, "kind", lambda: None)
    with pytest.raises(UserError) as caught, started():
        pass
    message = str(caught.value)
    assert {formats.PYTORCH: "torch.save", formats.DILL: "a pickle"}[name] in message
    assert "--trust" in message and "\n" not in message
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("trust", [False, True])
def test_where_nothing_hides_files_an_encoder_is_read_and_what_is_trusted(
    start, ground_truth, monkeypatch, make_encoder, trust
):
    folder, _ = start
    if trust:
        function = dill.dumps(lambda images: images[:, 0, 0] * 1.0, recurse=True)
        (folder / formats.DILL).write_bytes(function)
    else:
        write_torchscript(make_encoder(), folder / formats.PYTORCH)
    monkeypatch.setattr(confinement, "kind", lambda: None)
    model = formats.find(folder, allow_pickle=True)
    images = ground_truth.sample_observations(3, np.random.RandomState(0))
    with representations.start(model, trust=trust) as process:
        assert len(representations.read(process, ground_truth).encode(images)) == 3
