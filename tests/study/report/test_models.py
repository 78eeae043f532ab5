import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

from study.report import models
from study.report.results import read
from submission.datasets import Dataset


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    pixels = np.random.RandomState(0).randint(256, size=(12, 64, 64, 3)).astype(np.uint8)
    return Dataset("mpi3d_mini", pixels, ("shape", "size"), (4, 3), (0, 1))


@pytest.fixture
def results(drawn, exported):
    """Two methods by two seeds, with models; the second run stands for any that has none."""
    drawn.write(methods=("beta_tcvae", "info_vae"), seeds=(3, 1), metrics=("mig",), models=exported)
    return read(drawn.folder)


def test_every_run_is_traversed_in_the_order_of_the_papers_figures(results, dataset):
    drawn = models.traversals(results, dataset)
    order = [(one.figure, one.run.label, one.run.seed, one.is_first) for one in drawn]
    assert order == [
        (1, "Info-VAE", 3, True),
        (1, "Info-VAE", 1, False),
        (2, "β-TCVAE", 3, True),
        (2, "β-TCVAE", 1, False),
    ]


def test_methods_and_variants_beyond_the_papers_come_last_without_a_figures_number(
    drawn, exported, dataset
):
    methods, variants = ("vae", "dip_vae_ii"), ("", "narrow")
    drawn.write(methods=methods, seeds=(0,), variants=variants, metrics=("mig",), models=exported)
    found = models.traversals(read(drawn.folder), dataset)
    assert [(one.figure, one.run.label) for one in found] == [
        (6, "DIP-VAE-II"),
        (None, "DIP-VAE-II (narrow)"),
        (None, "VAE"),
        (None, "VAE (narrow)"),
    ]


def test_latents_in_use_are_rows_and_the_sheet_stacks_them(results, dataset):
    # The second method of the plan uses two latents.
    info = models.traversals(results, dataset)[0]
    assert [latent for latent, _, _ in info.rows] == [0, 1]
    sheet = Image.open(io.BytesIO(models.sheet_png(info)))
    assert sheet.size[1] > 2 * 2 * 64
    assert models.sheet_png(info) == models.sheet_png(info)


def test_a_large_study_keeps_each_methods_first_run_and_bounds_the_others(
    results, dataset, monkeypatch
):
    monkeypatch.setattr(models, "_MOST_OTHERS", 1)
    monkeypatch.setattr(models, "_MOST_LATENTS_OF_OTHERS", 1)
    drawn = models.traversals(results, dataset)
    assert [len(one.rows) for one in drawn] == [2, 0, 1, 1]
    assert drawn[1].reason == "the page has room for 1 runs beside each method's first"


def test_a_missing_decoder_is_told_and_ends_nothing(results, dataset):
    (results.runs[0].folder / "training/decoder.pt").unlink()
    drawn = models.traversals(results, dataset)
    assert [bool(one.rows) for one in drawn] == [True, True, False, True]
    assert drawn[2].reason == "there is no training/decoder.pt"
    errors = models.reconstruction_errors(results, dataset)
    assert results.runs[0].name not in errors
    assert len(errors) == 3


def test_latents_that_are_all_ignored_are_told(results, dataset):
    path = results.runs[0].folder / "training/run.json"
    path.write_text(
        json.dumps(
            json.loads(path.read_text()) | {"posterior_mean_variance_per_latent": [0.001] * 4}
        )
    )
    folder = path.parents[3]
    drawn = models.traversals(read(folder), dataset)
    assert "all 4 latents are ignored" in drawn[2].reason


def test_the_error_is_the_mean_square_over_pixels_of_the_same_images(results, dataset):
    errors = models.reconstruction_errors(results, dataset)
    images = dataset.images[np.random.RandomState(0).randint(12, size=512)] / np.float32(255)
    folder = results.runs[0].folder
    encoder = torch.jit.load(str(folder / "representation/pytorch_model.pt"))
    decoder = torch.jit.load(str(folder / "training/decoder.pt"))
    decoded = decoder(encoder(torch.from_numpy(images.transpose(0, 3, 1, 2))))
    expected = float(np.square(decoded.numpy() - images.transpose(0, 3, 1, 2)).mean())
    assert set(errors) == {run.name for run in results.runs}
    assert errors[results.runs[0].name] == pytest.approx(expected, rel=1e-5)


# The data set.


def test_a_data_set_that_is_not_here_is_told(drawn, monkeypatch, tmp_path):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path))
    dataset, reason = models.open_dataset(read(drawn.write(methods=("vae",), seeds=(0,))))
    assert dataset is None
    assert "mpi3d_toy" in reason


def test_runs_of_two_data_sets_have_none(drawn):
    drawn.write(methods=("vae", "beta_vae"), seeds=(0,))
    drawn.write_run("vae", 0, {"mig": 0.1}, dataset="cars3d")
    dataset, reason = models.open_dataset(read(drawn.folder))
    assert dataset is None
    assert reason == "the runs differ in their data set: cars3d and mpi3d_toy"


def test_other_images_of_the_same_name_are_not_shown(drawn, mini_root, monkeypatch):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(mini_root))
    folder = drawn.write(methods=("vae",), seeds=(0,), dataset="mpi3d_mini")
    dataset, reason = models.open_dataset(read(folder))
    assert dataset is None
    assert reason == "the images of mpi3d_mini here are not those that were trained on"
