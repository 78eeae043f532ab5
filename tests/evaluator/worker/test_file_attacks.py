"""The attacks on files that take no pickle, natively: nothing is read and nothing is written."""

import json

import pytest
import torch
from torch import nn

from evaluator.worker import landlock
from evaluator.worker.operations import file_operations
from tests.evaluator.worker.attacks import (
    Overwrites,
    Reads,
    Saves,
    SavesWhenRead,
    Swells,
    write_saved_model,
    write_torchscript,
)
from tests.evaluator.worker.child import run

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


@pytest.fixture(scope="module", params=[True, False], ids=["confined", "free"])
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
