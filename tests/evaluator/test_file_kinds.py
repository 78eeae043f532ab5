import gzip
import io
import os
import pickle
import tarfile
import tracemalloc
import warnings
import zipfile
from collections import OrderedDict

import dill
import h5py
import numpy as np
import pytest
import torch
from torch import nn

from evaluator import file_kinds
from evaluator.file_kinds import EXPORTED, ONNX, PICKLE, SAVED_MODEL, TORCHSCRIPT, UNKNOWN, kind_of


@pytest.fixture
def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1), nn.Flatten(), nn.Linear(64, 5)).eval()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def example():
    return (torch.zeros(2, 3, 4, 4),)


def save_traced(network, path):
    torch.jit.save(torch.jit.trace(network, example()), str(path))


def save_exported(network, path):
    with path.open("wb") as file:
        torch.export.save(torch.export.export(network, example()), file)


def save_onnx(network, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(network, example(), str(path), dynamo=False)


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (lambda network, path: torch.jit.save(torch.jit.script(network), str(path)), TORCHSCRIPT),
        (save_traced, TORCHSCRIPT),
        (save_exported, EXPORTED),
        (save_onnx, ONNX),
        (torch.save, PICKLE),
        (
            lambda network, path: torch.save(network, path, _use_new_zipfile_serialization=False),
            PICKLE,
        ),
        (lambda _, path: path.write_bytes(dill.dumps(lambda batch: batch)), PICKLE),
        (lambda _, path: path.write_bytes(dill.dumps(np.mean)), PICKLE),
        (lambda _, path: path.write_bytes(b"neither"), UNKNOWN),
    ],
    ids=["script", "trace", "export", "onnx", "module", "old module", "function", "name", "other"],
)
def test_what_may_be_a_model_is_told_by_its_content(network, path, save, name):
    save(network, path)
    assert kind_of(path) == (name, "")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_state_dict_is_told_with_its_keys(network, path, zipped):
    torch.save(network.state_dict(), path, _use_new_zipfile_serialization=zipped)
    told = kind_of(path).mistake
    assert "holds a state_dict ('0.weight', '0.bias', " in told
    assert "torch.jit.save" in told


@pytest.mark.parametrize("key", ["model", "network"])
def test_a_checkpoint_is_told_with_its_keys(network, path, key):
    weights = {"model": network.state_dict(), "network": network}[key]
    torch.save({"step": 3, key: weights, "optimizer": {}}, path)
    assert f"holds a checkpoint ('step', '{key}', 'optimizer')" in kind_of(path).mistake


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.zeros(3), "a tensor"),
        ([1, 2], "a list"),
        ("text", "a str"),
        (OrderedDict(a=1), "a checkpoint"),
    ],
)
def test_a_pickle_of_something_else_is_told(path, value, told):
    torch.save(value, path)
    assert told in kind_of(path).mistake


def test_telling_what_a_pickle_is_runs_none_of_its_code(path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(path.parent / "ran"),)

    path.write_bytes(pickle.dumps({"weights": Payload()}))
    assert "a checkpoint" in kind_of(path).mistake
    assert not (path.parent / "ran").exists()


@pytest.mark.timeout(30)
def test_telling_what_a_pickle_is_makes_no_room_for_what_it_only_says_it_holds(path):
    put_far_away = b"r" + (2**31 - 1).to_bytes(4, "little")
    path.write_bytes(b"\x80\x02]" + put_far_away + b".")
    tracemalloc.start()
    assert "a list" in kind_of(path).mistake
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_tuples_within_tuples_as_a_key_take_no_time(path):
    # Each doubles what there is to hash and to write: 2 to the power of 60.
    path.write_bytes(b"\x80\x04})" + b"2\x86" * 60 + b"K\x01s.")
    assert kind_of(path) == (PICKLE, "")


@pytest.mark.parametrize("place", [b"data.pkl", b"PK\x01\x02"])
def test_a_damaged_archive_is_told(network, path, place):
    torch.save(network.state_dict(), path)
    content = bytearray(path.read_bytes())
    # Behind the name stands the content, or the directory's own number of it.
    at = content.index(place) + (60 if place == b"data.pkl" else 2)
    content[at] ^= 0xFF
    path.write_bytes(content)
    assert "is damaged" in kind_of(path).mistake


@pytest.mark.parametrize("bytes_of_length", [7, 8, 9])
def test_a_length_that_no_file_has_is_told(path, bytes_of_length):
    path.write_bytes(b"\x3a" + b"\xff" * bytes_of_length + b"\x7f")
    assert kind_of(path).name == UNKNOWN


def test_an_empty_file_is_told(path):
    path.touch()
    assert "is empty" in kind_of(path).mistake


@pytest.mark.parametrize("save", [save_traced, save_exported, save_onnx, torch.save])
def test_half_a_file_is_told(network, path, save):
    save(network, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is cut short" in kind_of(path).mistake


def test_half_a_pickle_is_told(path):
    path.write_bytes(dill.dumps(lambda batch: batch)[:-20])
    assert "is cut short" in kind_of(path).mistake


def tarred():
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("tfhub/saved_model.pb"))
    return content.getvalue()


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"content")
    return content.getvalue()


def array(save, *arrays):
    content = io.BytesIO()
    save(content, *arrays)
    return content.getvalue()


def hdf5():
    content = io.BytesIO()
    h5py.File(content, "w").close()
    return content.getvalue()


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
OTHERS = {
    "Git LFS": (LFS, "git lfs pull"),
    "HTML": (b"\n<!DOCTYPE html>\n<html><head>", "web page"),
    "an error of a bucket": (b"\xef\xbb\xbf<?xml version='1.0'?><Error>", "web page"),
    "gzip": (gzip.compress(b"model"), "compressed with gzip: unpack it"),
    "tar": (tarred(), "tar archive: unpack it"),
    "zip": (zipped("tfhub/saved_model.pb"), "zip archive of other files: unpack it"),
    "Keras": (zipped("config.json", "model.weights.h5"), "model.export"),
    "HDF5": (hdf5(), "model.export"),
    "npy": (array(np.save, np.zeros(3)), "array of numpy's"),
    "npz": (array(np.savez, np.zeros(3)), "arrays of numpy's"),
    "safetensors": ((2).to_bytes(8, "little") + b'{"weight":{}}', "safetensors"),
    "AOTInductor": (zipped("m/archive_format", "m/data/aotinductor/m.so"), "AOTInductor"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_what_is_no_model_is_told(path, other):
    content, told = OTHERS[other]
    path.write_bytes(content)
    assert told in kind_of(path).mistake


def test_a_saved_model_is_told_by_its_file(path):
    path.mkdir()
    (path / "saved_model.pb").write_bytes(b"\x08\x01")
    assert kind_of(path) == (SAVED_MODEL, "")


def test_a_saved_model_whose_variables_are_a_git_lfs_pointer_is_told(path):
    (path / "variables").mkdir(parents=True)
    (path / "saved_model.pb").write_bytes(b"\x08\x01")
    (path / "variables" / "variables.data-00000-of-00001").write_bytes(LFS)
    told = kind_of(path).mistake
    assert "variables/variables.data-00000-of-00001, which is a Git LFS pointer" in told


def test_a_folder_that_holds_the_saved_model_deeper_is_told(path):
    (path / "1").mkdir(parents=True)
    (path / "1" / "saved_model.pb").touch()
    assert "without a saved_model.pb: that stands in its folder 1" in kind_of(path).mistake


def test_a_gpu_in_the_code_is_seen(network, path):
    class OnGpu(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) + torch.zeros(3, device="cuda:0")

    torch.jit.save(torch.jit.script(OnGpu()), str(path))
    assert file_kinds.names_a_gpu(path)
    torch.jit.save(torch.jit.script(network), str(path))
    assert not file_kinds.names_a_gpu(path)
