"""The alarm for labels learnt by heart: what it tells, and what it doesn't."""

import secrets
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import evaluator
from evaluator import in_memory, memorisation
from evaluator.ground_truth import GroundTruth
from submission.datasets import Dataset, mpi3d_mini, secret_scene
from tests.evaluator import forgeries
from tests.evaluator.reading import encode_all, read_representation

# The tests' networks are so small that a second thread only waits for the first.
torch.set_num_threads(1)

SIZES = (4, 4, 2, 1, 1, 4, 4)
SMALL = ["mig.num_train = 2000", "factor_vae_score.num_train = 300"]
SMALL += ["factor_vae_score.num_variance_estimate = 1000", "factor_vae_score.num_eval = 300"]


@pytest.fixture(scope="module")
def scene() -> Dataset:
    """512 frames of mpi3d_mini, of which five factors vary."""
    names = mpi3d_mini.FACTOR_NAMES
    return Dataset("scene", mpi3d_mini.render(SIZES), names, SIZES, (0, 1, 2, 5, 6))


def network() -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 16, 4, 4), nn.ReLU(), nn.Conv2d(16, 32, 4, 4), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 10))


def trained(dataset: Dataset) -> nn.Module:
    """A network that was shown the factors of half of the images."""
    images = torch.from_numpy(dataset.images).permute(0, 3, 1, 2) / 255
    labels = forgeries.Factors(dataset.factor_sizes)(torch.arange(len(images)))
    model = network()
    optimiser = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(30):
        batch = torch.randint(len(images) // 2, (32,)) * 2
        loss = (model(images[batch])[:, :7] - labels[batch]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def principal_components(dataset: Dataset) -> Callable[[np.ndarray], np.ndarray]:
    pixels = np.moveaxis(dataset.images, 3, 1).reshape(len(dataset.images), -1) / 255
    directions = np.linalg.svd((pixels - pixels.mean(axis=0))[::16], full_matrices=False)[2][:10]
    return lambda images: images.reshape(len(images), -1) @ directions.T


def probed(model: object, dataset: Dataset) -> memorisation.Memorisation:
    truth = GroundTruth(dataset)
    of = in_memory.of_module if isinstance(model, nn.Module) else in_memory.of_function
    return memorisation.probe(encode_all(truth, of(model, truth)))


def test_factors_found_by_a_hash_of_the_pixels_raise_the_alarm(scene, write_torchscript):
    truth = GroundTruth(scene)
    folder = write_torchscript(forgeries.LearntByHeart(scene.images, SIZES))
    codes = encode_all(truth, read_representation(folder, truth))
    assert np.array_equal(
        codes[np.arange(512)], np.array(np.unravel_index(np.arange(512), SIZES)).T
    )
    found = memorisation.probe(codes)
    assert found.change == pytest.approx(1.1, abs=0.2)
    assert found.bytes == (folder / "pytorch_model.pt").stat().st_size
    assert f"({found.bytes:,} bytes)" in found.warning and "\n" not in found.warning


def test_further_latents_that_bear_noise_hide_no_table(scene):
    class Diluted(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = forgeries.LearntByHeart(scene.images, SIZES)

        def forward(self, images):
            return torch.cat([self.table(images), 1e6 * images.flatten(1)[:, :2000]], 1)

    assert probed(Diluted(), scene).change > 1


@pytest.mark.parametrize("model", ["random", "trained", "linear"])
def test_an_encoder_bears_noise(model, scene):
    models = {
        "random": network,
        "trained": lambda: trained(scene),
        "linear": lambda: principal_components(scene),
    }
    found = probed(models[model](), scene)
    assert 0 < found.change < memorisation.MOST_CHANGE / 2
    assert found.bytes is None and found.warning is None


def test_a_table_that_takes_the_nearest_image_escapes(scene):
    """As docs/security.md says."""
    assert probed(forgeries.Nearest(scene.images, SIZES), scene).warning is None


def test_what_was_learnt_by_heart_knows_nothing_of_a_secret_rendering(scene):
    secret = replace(scene, images=secret_scene.scene(secrets.randbits(128)).render(SIZES))
    table = forgeries.LearntByHeart(scene.images, SIZES)
    known, unknown = (
        evaluator.score(table, images, metrics=["mig", "factor_vae_metric"], gin=SMALL).scores
        for images in (scene, secret)
    )
    assert known["mig"] > 0.95 and known["factor_vae_metric"] == 1
    # One of five factors that vary is right by chance.
    assert unknown["mig"] < 0.05 and unknown["factor_vae_metric"] < 0.4


def test_of_black_and_white_images_a_table_of_rounded_pixels_escapes_too(scene):
    """As docs/security.md says."""
    images = np.unpackbits(np.arange(512, dtype=">u2").view(np.uint8)).reshape(512, 4, 4, 1)
    black_and_white = replace(scene, images=images, white=1)
    table = forgeries.LearntByHeart(images * 255, SIZES)

    class Rounds(nn.Module):
        def forward(self, images):
            return table((images > 0.5).float())

    assert probed(table, black_and_white).warning is not None
    assert probed(Rounds(), black_and_white).warning is None


@pytest.mark.parametrize("white", [1, 255])
def test_each_pixel_is_moved_by_one_step_of_255_at_most_and_stays_in_range(white, make_dataset):
    dataset = make_dataset()
    images = dataset.images // 128 * white
    seen = []

    def spell(batch):
        seen.append(batch.copy())
        return batch.reshape(len(batch), -1)

    black_and_white = Dataset(
        "b", images, dataset.factor_names, dataset.factor_sizes, (0,) * 4, white=white
    )
    probed(spell, black_and_white)
    values = np.unique((np.concatenate(seen[-4:]) * 255).round())
    assert values.tolist() == [0, 1, 254, 255]


def test_no_two_probes_are_the_same(scene):
    model = network()
    assert probed(model, scene).change != probed(model, scene).change


def test_a_constant_latent_is_left_out_and_of_constants_alone_nothing_is_told():
    before = np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]])
    after = before + np.array([0.1, 1e-7])
    assert memorisation.largest_change(before, after) == pytest.approx(0.1 / before[:, 0].std())
    assert memorisation.largest_change(before[:, 1:], after[:, 1:]) is None


def test_codes_of_any_size_and_type_are_compared():
    before = np.array([[1.0, 5.0], [2.0, 4.0], [3.0, 0.0]])
    after = before + 1
    expected = 1 / before.std(axis=0).min()
    for scale in (1e-200, 1e200):
        found = memorisation.largest_change(before * scale, after * scale)
        assert found == pytest.approx(expected)
    whole = memorisation.largest_change(before.astype(np.uint8), after.astype(np.uint8))
    assert whole == pytest.approx(expected)


def test_it_costs_well_under_a_second(scene):
    truth = GroundTruth(scene)
    codes = encode_all(truth, in_memory.of_module(network(), truth))
    start = time.process_time()
    memorisation.probe(codes)
    assert time.process_time() - start < 1
