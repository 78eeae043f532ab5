import os

import pytest
import torch

from submission.networks import NetworkShape
from submission.runs.folder import RunFolder
from submission.training.export import ExportError, export
from submission.training.step import new_model

SHAPE = NetworkShape(1, latents=6, width=0.125)


@pytest.fixture
def model():
    return new_model(SHAPE, 0, torch.device("cpu"))


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.mark.parametrize("batch", [1, 64])
def test_the_representation_is_the_posterior_mean(model, folder, batch):
    export(model, folder)
    images = torch.rand(batch, 1, 64, 64)
    with torch.no_grad():
        expected, _ = model.encoder(images)
        actual = torch.jit.load(str(folder.model))(images)
    assert actual.shape == (batch, 6)
    torch.testing.assert_close(actual, expected)


def test_the_decoder_gives_pixels_between_0_and_1(model, folder):
    export(model, folder)
    latents = torch.randn(3, 6)
    with torch.no_grad():
        pixels = torch.jit.load(str(folder.decoder))(latents)
        torch.testing.assert_close(pixels, torch.sigmoid(model.decoder(latents)))
    assert pixels.shape == (3, 1, 64, 64)


def test_the_folder_is_the_challenges(model, folder):
    export(model, folder)
    assert sorted(os.listdir(folder.representation)) == ["pytorch_model.pt", "results"]
    assert os.listdir(folder.representation / "results") == []


def test_the_network_goes_on_training_after_an_export(model, folder):
    export(model, folder)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training


def test_a_broken_network_does_not_replace_a_good_export(model, folder):
    export(model, folder)
    before = folder.model.read_bytes()
    with torch.no_grad():
        model.encoder.posterior.bias.fill_(float("nan"))
    with pytest.raises(ExportError, match="not finite"):
        export(model, folder)
    assert folder.model.read_bytes() == before
