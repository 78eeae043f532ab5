from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluator.report import moving
from evaluator.report.moving import Slider, prepare
from evaluator.report.traversals import Autoencoder, opened
from submission.errors import UserError
from submission.networks import VAE, NetworkShape
from submission.runs.folder import RunFolder
from submission.training.export import export

LATENTS = 3
SLIDERS = [Slider(2, -1.0, 1.0), Slider(0, -2.0, 0.5)]


class Negative(torch.nn.Module):
    """Another decoder with the layers of ours."""

    def __init__(self, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        return 1 - torch.sigmoid(self.decoder(latents))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Autoencoder]]:
    """Ours; one of other code; and one of other layers. All read in the worker."""
    torch.manual_seed(0)
    vae = VAE(NetworkShape(image_channels=3, latents=LATENTS, width=0.06))
    runs = [RunFolder(tmp_path_factory.mktemp("run")) for _ in range(3)]
    for run in runs:
        export(vae, run)
    torch.jit.script(Negative(vae.decoder).eval()).save(str(runs[1].decoder))
    flat = torch.nn.Sequential(torch.nn.Linear(LATENTS, 3 * 64 * 64), torch.nn.Sigmoid())
    other = torch.nn.Sequential(flat, torch.nn.Unflatten(1, (3, 64, 64)))
    torch.jit.script(other.eval()).save(str(runs[2].decoder))
    with opened(runs, (64, 64, 3)) as opened_models:
        yield opened_models


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.RandomState(0).uniform(size=(10, 64, 64, 3)).astype(np.float32)


def test_a_page_computes_the_projects_own_decoder(
    models: list[Autoencoder], images: np.ndarray
) -> None:
    found = prepare(models[0], images, models[0].encode(images), SLIDERS)
    assert (found.how, found.bits, found.why_strips) == ("page", 16, "")
    assert found.levels < 0.1
    assert len(found.originals) == len(found.content["codes"]) == 8
    assert len(found.content["decoder"]["layers"]) == 7


def test_weights_take_8_bits_where_16_are_too_many(
    models: list[Autoencoder], images: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "MOST_BYTES", 15_000)
    found = prepare(models[0], images, models[0].encode(images), SLIDERS)
    assert (found.how, found.bits) == ("page", 8)
    assert found.levels <= moving.MOST_LEVELS


@pytest.mark.parametrize(
    ("which", "most_bytes", "why"),
    [
        (0, 9_000, "the decoder has 7,465 weights, too many for a page"),
        (1, 3_000_000, "the decoder computes something else than submission/networks.py"),
        (2, 3_000_000, "the decoder's layers aren't those of submission/networks.py"),
    ],
)
def test_pictures_of_any_other_decoder_are_drawn_beforehand(
    models: list[Autoencoder],
    images: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
    which: int,
    most_bytes: int,
    why: str,
) -> None:
    monkeypatch.setattr(moving, "MOST_BYTES", most_bytes)
    found = prepare(models[which], images, models[which].encode(images), SLIDERS)
    assert found.how == "strips"
    assert why in found.why_strips
    assert "decoder" not in found.content
    assert len(found.content["strips"]) == 8


def test_a_server_needs_neither(models: list[Autoencoder], images: np.ndarray) -> None:
    found = prepare(models[2], images, models[2].encode(images), SLIDERS, served=True)
    assert found.how == "server"
    assert not {"decoder", "strips"} & set(found.content)


def test_a_range_is_widened_to_the_images(models: list[Autoencoder], images: np.ndarray) -> None:
    codes = np.zeros((10, LATENTS), np.float32)
    codes[3, 2], codes[9, 0] = 1.5, -9
    found = prepare(models[0], images, codes, SLIDERS)
    assert found.sliders == [Slider(2, -1.0, 1.5), Slider(0, -2.0, 0.5)]


def test_a_decoder_that_fails_is_told(models: list[Autoencoder], images: np.ndarray) -> None:
    def fail(codes: np.ndarray) -> np.ndarray:
        raise UserError("it fails")

    with pytest.raises(UserError, match="it fails"):
        prepare(replace(models[0], decode=fail), images, models[0].encode(images), SLIDERS)


def test_only_parameters_that_are_there_can_be_asked_for(models: list[Autoencoder]) -> None:
    assert models[0].parameter(13).shape == (3,)
    with pytest.raises(UserError, match="the decoder has 14 parameters"):
        models[0].parameter(14)
