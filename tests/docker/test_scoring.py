"""Scoring in the image: all three formats, the native numbers, and the same ones each time."""

import copy
import json
import subprocess
import sys
from pathlib import Path

import dill
import numpy as np
import pytest
import torch
from docker.types import Mount
from torch import nn

from container import apart, ownership, results, sandbox, scoring
from container.live_log import LiveLog
from container.sandbox import Limits
from evaluator.compat import load_tensorflow
from evaluator.worker import readers
from evaluator.worker.client import awaited
from submission.errors import UserError

ROOT = Path(__file__).parents[2]


def encoder() -> nn.Module:
    """The paper's kind of encoder, with random weights: real convolutions on real images."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2),
        nn.ReLU(),
        nn.Conv2d(32, 32, 3, 2),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64 * 7 * 7, 10),
    ).eval()


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def without_times(scores: dict) -> dict:
    kept = copy.deepcopy(scores)
    for name in ("created", "seconds", "memorisation"):
        del kept["provenance"][name]
    return kept


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_image_gives_the_native_table_again_and_again(portal, write_torchscript):
    folder = write_torchscript(encoder())
    native = portal.folder / "native"
    command = [sys.executable, "-m", "evaluator", folder, "--dataset", "mpi3d_mini"]
    subprocess.run(
        [*command, "--output", native, "--no-report"],
        env=portal.environment,
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    expected = read(native / "scores.json")

    for name in ("first", "second"):
        answer = portal("score", folder, "--dataset mpi3d_mini --output", portal.folder / name)
        assert answer.code == 0, answer.errors
    first, second = (read(portal.folder / name / "scores.json") for name in ("first", "second"))
    assert without_times(first) == without_times(second)
    for part in ("scores", "sum", "metrics"):
        assert json.dumps(first[part]) == json.dumps(expected[part])
    del first["provenance"]["versions"]["python"], expected["provenance"]["versions"]["python"]
    for key in ("versions", "dataset_fingerprint", "representation_sha256", "gin_config"):
        assert first["provenance"][key] == expected["provenance"][key]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_verify_tells_identical_scores_from_others(portal, folder, write_torchscript, client):
    write_torchscript(encoder())
    scores = folder.parent / "scores.json"
    options = ("--seed", 3, "--metrics", "mig irs", "--gin", "irs.num_train=1000")
    answer = portal("score", folder, "--dataset", "mpi3d_mini", "--", *options)
    assert answer.code == 0, answer.errors
    before = read(scores)
    assert before["provenance"]["image"] == client.images.get(portal.image).id
    assert before["provenance"]["git_revision"] != "unknown"
    assert before["provenance"]["seed"] == 3

    answer = portal("score", "--verify", scores)
    assert answer.code == 0, answer.errors
    assert answer.output.endswith("identical: all numbers, and where they come from\n")

    here, elsewhere = before["provenance"]["image"], f"sha256:{'0' * 64}"
    before["provenance"]["image"] = elsewhere
    before["scores"]["mig"] += 1e-15
    before["provenance"]["versions"]["numpy"] = "1.0"
    scores.write_text(json.dumps(before))
    answer = portal("score", "--verify", scores)
    assert answer.code == 1
    lines = answer.output.splitlines()
    assert lines[0] == (
        f"warning: these scores are of the image {elsewhere}, and computed anew in {here}"
    )
    assert lines[-1] == "not identical: 1 number differs"
    assert any(line.startswith("scores.mig: ") for line in lines)
    assert any(line.startswith('provenance.versions.numpy: "1.0" before') for line in lines)


@pytest.fixture
def write_saved_model(folder):
    """Writes a SavedModel whose codes are pixels."""

    def write() -> Path:
        tensorflow = load_tensorflow()
        module = tensorflow.Module()

        @tensorflow.function(
            input_signature=[tensorflow.TensorSpec([None, 64, 64, 3], tensorflow.float32, "images")]
        )
        def represent(images):
            return {"default": tensorflow.reshape(images, [-1, 12288])[:, :4000:500]}

        signatures = {"representation": represent}
        tensorflow.saved_model.save(module, str(folder / "tfhub"), signatures=signatures)
        return folder / "tfhub"

    return write


@pytest.fixture
def write_dilled_function(folder):
    """Writes a dilled function whose codes are sums over pixels."""

    def write() -> Path:
        weights = np.random.RandomState(0).normal(size=(192, 5))

        def represent(images):
            return images[:, :, ::8, ::8].reshape(len(images), -1) @ weights

        represent.__module__ = "__main__"  # so that dill takes the code along, as from a script
        with (folder / "python_model.dill").open("wb") as file:
            dill.dump(represent, file, recurse=True)
        return folder / "python_model.dill"

    return write


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "latents"), [("saved_model", 8), ("dilled_function", 5)])
def test_other_formats_are_scored(portal, request, kind, latents):
    path = request.getfixturevalue(f"write_{kind}")()
    answer = portal.score(path.parent)
    assert answer.code == 0, answer.errors
    provenance = read(portal.folder / "scored/scores.json")["provenance"]
    assert (provenance["representation_file"], provenance["latents"]) == (path.name, latents)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["torchscript", "saved_model", "dilled_function"])
def test_codes_from_the_models_container_are_those_in_process_to_the_bit(
    client, built, data_set, request, kind
):
    write = request.getfixturevalue(f"write_{kind}")
    path = write(encoder()) / "pytorch_model.pt" if kind == "torchscript" else write()
    expected = readers.read(path)
    # As a scorer on this machine does, with a socket that the container's user can reach.
    with ownership.temporary_folder() as place, results.readable_copy(path.parent, 2**30) as copy:
        place.chmod(0o755)
        socket = Mount(apart.SOCKET, str(place), type="bind", read_only=True)
        job = apart.model_job(built, copy, Path(path.name), socket)
        limits = Limits(60.0, 0.0, 2**31, 1024, sandbox.default_cpus(client), 0)
        with (
            LiveLog("test", 60.0, place / "log.txt", 10_000) as log,
            sandbox.started(client, job, limits, log),
            awaited(path, place / "worker") as process,
        ):
            served = process.reading()
            for size in (64, 16):
                pixels = data_set.images[:size]
                images = (pixels / 255.0).astype(np.float32)
                assert np.array_equal(served.encode(images), expected.encode(images))
                assert served.encode(images).dtype == expected.encode(images).dtype
                if expected.encode_pixels:
                    one, other = served.encode_pixels, expected.encode_pixels
                    assert np.array_equal(one(pixels, 255), other(pixels, 255))


@pytest.mark.slow
def test_the_evaluators_refusal_is_told_in_one_line(portal, folder):
    (folder / "pytorch_model.pt").write_bytes(b"no model")
    assert "can't be read as TorchScript" in portal.score(folder).error


RIGHT = {
    "scores": {"mig": 0.1},
    "sum": 0.1,
    "metrics": {"mig": {}},
    "provenance": {"seed": 0, "dataset": "mpi3d_mini", "engine": "fast", "preset": "challenge"},
}


def changed(key: str, value: object) -> str:
    """`scores.json` with another value; "provenance.seed" is the one in the other."""
    content = copy.deepcopy(RIGHT)
    *outer, inner = key.split(".")
    (content[outer[0]] if outer else content)[inner] = value
    return json.dumps(content)


def test_right_scores_are_read(tmp_path):
    (tmp_path / "scores.json").write_text(json.dumps(RIGHT))
    assert scoring.read_scores(tmp_path / "scores.json") == RIGHT


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{}",
        "[]",
        "{",
        "[" * 100_000,
        "1" * 5000,
        "\x00",
        json.dumps(dict.fromkeys(RIGHT, 1)),
        json.dumps({key: {} for key in RIGHT}),
        changed("scores", {}),
        changed("scores", {"../x": 0.1}),
        changed("scores", {"--seed": 0.1}),
        changed("scores.mig", "0.1"),
        changed("scores.mig", None),
        changed("scores.mig", float("nan")),
        changed("scores.mig", 0.1).replace("0.1", "1e999"),
        changed("scores.mig", 10**400),
        changed("provenance.seed", "0"),
        changed("provenance.seed", None),
        changed("provenance.dataset", ["mpi3d_mini"]),
        changed("provenance.engine", 1),
        changed("provenance.preset", None),
        changed("provenance.gin_bindings", "a=b"),
        changed("provenance.gin_bindings", [1]),
        changed("provenance.image", ""),
        changed("provenance.image", "debian:12"),
        changed("repeats", []),
        changed("repeats", {"seeds": 3}),
    ],
)
def test_what_are_no_scores_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "scores.json"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        scoring.read_scores(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_verify_of_no_scores_is_told_in_one_line(client, bare_portal, tmp_path):
    path = tmp_path / "scores.json"
    path.write_text("{}")
    assert bare_portal("score", "--verify", path).error == (
        f"{path} holds no scores (scores is no object): it must be a scores.json that the "
        "evaluator wrote"
    )


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """What an evaluation leaves in its container."""
    left = tmp_path / "left"
    (left / "metrics/mig/results/aggregate").mkdir(parents=True)
    (left / "metrics/mig/results/aggregate/evaluation.json").write_text("{}")
    (left / "scores.json").write_text(json.dumps(RIGHT))
    return left


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_what_an_evaluation_writes_is_taken_from_its_container(left, tmp_path):
    (left / "log.txt").write_text("\x1b[2J")
    (left / "metrics/mig/more.txt").touch()
    (left / "metrics/other").mkdir()
    scoring.keep_scores(left, tmp_path / "kept")
    assert files_of(tmp_path / "kept") == {
        "scores.json",
        "metrics/mig/results/aggregate/evaluation.json",
    }


def test_what_a_terminal_would_obey_does_not_stay_in_scores(left, tmp_path):
    (left / "scores.json").write_text(changed("sum", "\x9b2J\x1b[2J"))
    scoring.keep_scores(left, tmp_path)
    assert (tmp_path / "scores.json").read_bytes().isascii()
    assert b"\x1b" not in (tmp_path / "scores.json").read_bytes()


def _missing(path: Path) -> None:
    path.unlink()


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00")


def _deep(path: Path) -> None:
    path.write_text(changed("sum", 1).replace('"sum": 1', f'"sum": {"[" * 100_000}'))


@pytest.mark.parametrize("name", ["scores.json", "metrics/mig/results/aggregate/evaluation.json"])
@pytest.mark.parametrize("spoil", [_missing, _folder, _garbage, _deep])
def test_spoilt_scores_of_a_container_are_refused(left, tmp_path, name, spoil):
    spoil(left / name)
    with pytest.raises(UserError, match=r"^what the scoring container left was refused: "):
        scoring.keep_scores(left, tmp_path / "kept")


def test_scores_differ_in_numbers_or_in_where_they_come_from():
    one = {
        "scores": {"mig": 0.1},
        "sum": 0.1,
        "metrics": {},
        "provenance": {"seed": 0, "created": "today", "seconds": {"mig": 1.0}},
    }
    other = copy.deepcopy(one)
    other["provenance"] |= {"created": "tomorrow", "seconds": {"mig": 2.0}}
    other["provenance"]["memorisation"] = {"change": 0.02}
    assert scoring.differences(one, other) == ([], [])
    other["scores"]["mig"] = 0.2
    other["provenance"]["seed"] = 1
    assert scoring.differences(one, other) == (
        ["scores.mig: 0.1 before, 0.2 now"],
        ["provenance.seed: 0 before, 1 now"],
    )
