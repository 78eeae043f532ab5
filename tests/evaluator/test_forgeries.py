"""What forges a score gets the honest one of its model, or one line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import evaluator
from evaluator.ground_truth import GroundTruth
from evaluator.metrics.draws import draw
from evaluator.metrics.mig import MIG
from submission import datasets
from tests.evaluator import forgeries
from tests.evaluator.reading import prepare, read_representation

ROOT = Path(__file__).resolve().parents[2]
METRICS = ["mig", "irs"]
# With fewer than these 50 batches, a model that counts its calls might be lucky.
DRAWN = 800
SMALL = [f"mig.num_train = {DRAWN}", "irs.num_train = 100"]
SIZES = (2, 3, 4, 5)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of images and factors, whose place is known."""
    factors = np.array(list(np.ndindex(SIZES)))
    images = np.random.RandomState(0).randint(0, 256, (len(factors), 64, 64, 3)).astype(np.uint8)
    images[:, 20:40] = (factors @ [40, 30, 20, 10])[:, None, None, None]
    np.savez(tmp_path / "known.npz", images=images, factors=factors)
    datasets.load(str(tmp_path / "known.npz"))  # which says that it is checked, the first time
    return tmp_path / "known.npz"


def evaluate(folder: Path, data: Path, *options: str) -> subprocess.CompletedProcess[str]:
    settings = ["--metrics", *METRICS, *(part for line in SMALL for part in ("--gin", line))]
    return subprocess.run(
        [sys.executable, "-m", "evaluator", folder, "--dataset", data, *settings, *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def written(folder: Path) -> dict[str, object]:
    return json.loads((folder.parent / "scores.json").read_text())


def honest_scores(data: Path, codes: object) -> dict[str, float]:
    return evaluator.score(codes, datasets.load(str(data)), metrics=METRICS, gin=SMALL).scores


def assert_one_line(answer: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert answer.returncode == 2, answer.stdout + answer.stderr
    assert answer.stderr.startswith("error: ") and answer.stderr.count("\n") == 1
    assert str(folder) in answer.stderr
    assert not (folder.parent / "scores.json").exists()


def test_a_function_that_patches_the_writer_gets_its_own_scores(tmp_path, data):
    folder = tmp_path / "run/representation"
    forgeries.write_dill(folder, forgeries.PATCHES_THE_WRITER)
    answer = evaluate(folder, data, "--allow-pickle", "--no-report")
    if answer.returncode:
        assert_one_line(answer, folder)  # where nothing confines a process
        return
    honest = honest_scores(data, lambda images: images[:, :, 10, 20:24].reshape(len(images), -1))
    assert written(folder)["scores"] == honest
    assert written(folder)["sum"] == sum(honest.values()) < 1


def test_a_torchscript_that_overwrites_its_scores_is_told_in_one_line(tmp_path, data):
    folder = tmp_path / "run/representation"
    for name, module in (
        (
            "representation/pytorch_model.pt",
            forgeries.OverwritesScores(folder.parent / "scores.json"),
        ),
        ("training/decoder.pt", forgeries.Decodes()),
    ):
        (folder.parent / name).parent.mkdir(parents=True)
        torch.jit.save(torch.jit.script(module), folder.parent / name)
    assert_one_line(evaluate(folder, data), folder)


def test_a_function_that_looks_images_up_in_their_file_is_told_in_one_line(tmp_path, data):
    folder = tmp_path / "run/representation"
    forgeries.write_dill(folder, forgeries.LOOKS_UP_THE_FILE.format(place=str(data)))
    assert_one_line(evaluate(folder, data, "--allow-pickle", "--no-report"), folder)


def write_counter(folder: Path, data: Path) -> Path:
    """A function that counts its calls, and answers as disentanglement_lib's MIG asks with seed 0.

    Four batches come first, with which every model is tried.
    """
    factors = draw(datasets.load(str(data)), DRAWN, 16, np.random.RandomState(0)).factors
    answers = [factors[start : start + 16].tolist() for start in range(0, DRAWN, 16)]
    code = forgeries.COUNTS_ITS_CALLS.format(answers=[answers[0]] * 4 + answers)
    return forgeries.write_dill(folder, code)


def test_of_a_function_that_counts_its_calls_it_is_seen_that_its_codes_are_none_of_the_image(
    tmp_path, data
):
    folder = write_counter(tmp_path / "run/representation", data)
    truth = GroundTruth(datasets.load(str(data)))
    representation = read_representation(folder, truth, allow_pickle=True)
    sizes = [f"mig.num_train = {DRAWN}"]
    ready = prepare("fast", truth, representation, [MIG], sizes)
    assert ready.unproven
    # It would replay the public order of seed 0, if it weren't asked for other images in between.
    assert ready.score(MIG, 0, "challenge", sizes).score < 0.5


@pytest.mark.slow
def test_where_the_order_is_public_a_function_that_counts_scores_and_it_is_told(tmp_path, data):
    folder = write_counter(tmp_path / "run/representation", data)
    answer = evaluate(folder, data, "--allow-pickle", "--no-report", "--engine", "reference")
    assert answer.returncode == 0, answer.stderr
    assert written(folder)["scores"]["mig"] > 0.9
    assert "order that anybody can know" in written(folder)["provenance"]["unproven"]
    assert "unproven" in answer.stdout
