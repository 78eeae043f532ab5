"""What is maximised, against PyTorch's own distributions and the evaluator's own files."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from study.tune.criteria import MeasuringFailed, check_name, criterion, elbo
from submission import datasets
from submission.errors import UserError
from submission.networks import VAE, NetworkShape
from submission.runs.folder import RunFolder
from submission.training.export import export
from submission.training.step import new_model


@pytest.fixture
def model() -> VAE:
    return new_model(NetworkShape(3, latents=6, width=0.05), 0, torch.device("cpu"))


@pytest.fixture
def run(model: VAE, tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    export(model, folder)
    return folder


@pytest.fixture
def images() -> np.ndarray:
    return np.random.RandomState(0).uniform(size=(20, 64, 64, 3)).round().astype(np.float32)


@torch.no_grad()
def test_the_elbo_is_the_plain_vaes(model, run, images):
    """Of the network itself, by PyTorch's distributions, with the one draw of z that is made."""
    batch = torch.from_numpy(images).permute(0, 3, 1, 2)
    mean, log_variance = model.encoder(batch)
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 1)
    prior = Independent(Normal(torch.zeros(6), torch.ones(6)), 1)
    noise = torch.randn((20, 6), generator=torch.Generator().manual_seed(0))
    z = posterior.mean + noise * posterior.stddev
    likelihood = Independent(Bernoulli(logits=model.decoder(z)), 3)
    expected = (likelihood.log_prob(batch) - kl_divergence(posterior, prior)).mean()
    assert elbo(run, images) == pytest.approx(float(expected), rel=1e-5)


def test_the_elbo_is_a_mean_over_all_images_however_many(run, images):
    """Twice the images in another order: the noise differs, hence the tolerance."""
    many = np.concatenate([images, images[::-1], images, images, images, images, images])
    assert elbo(run, many) == pytest.approx(elbo(run, images), rel=1e-3)


def test_the_elbo_is_the_same_each_time_and_on_any_number_of_threads(run, images):
    first = elbo(run, images)
    torch.set_num_threads(2)
    assert elbo(run, images) == first


def test_an_elbo_that_is_no_number_is_no_value(run, images):
    images[3, 5, 5, 0] = np.nan
    with pytest.raises(MeasuringFailed, match=r"elbo of .*run is nan"):
        elbo(run, images)


def test_a_misspelt_criterion_is_told():
    for name in ("elbo", "udr", "mig", "modularity"):
        check_name(name)
    with pytest.raises(UserError, match="did you mean elbo"):
        check_name("elbow")


@pytest.mark.parametrize(
    ("name", "supervised", "prunes"),
    [("elbo", False, True), ("udr", False, False), ("mig", True, True)],
)
def test_a_criterion_says_what_it_is(name, supervised, prunes):
    one = criterion(name, datasets.load("mpi3d_mini"), ())
    assert (one.supervised, one.prunes) == (supervised, prunes)
    assert ("uses the factors' labels" in one.label) == supervised


@pytest.mark.slow
def test_a_metric_is_the_evaluators_and_computed_once(run):
    settings = ("mig.num_train = 300", "dci.num_train = 9")
    one = criterion("mig", datasets.load("mpi3d_mini"), settings)
    value = one.measure([run])
    path = run.path / "scores.json"
    content = json.loads(path.read_text())
    assert content["scores"] == {"mig": value}
    assert content["provenance"]["gin_bindings"] == ["mig.num_train = 300"]

    before = path.stat().st_mtime_ns
    assert one.measure([run]) == value
    assert path.stat().st_mtime_ns == before
    export(new_model(NetworkShape(3, latents=6, width=0.05), 1, torch.device("cpu")), run)
    assert one.measure([run]) != value


@pytest.mark.slow
def test_udr_is_the_mean_over_the_seeds(tmp_path):
    """Runs of three seeds agree less than a run with itself."""
    runs = []
    for seed in range(3):
        folder = RunFolder(tmp_path / str(seed))
        export(new_model(NetworkShape(3, latents=6, width=0.05), seed, torch.device("cpu")), folder)
        runs.append(folder)
    one = criterion("udr", datasets.load("mpi3d_mini"), ())
    value = one.measure(runs)
    written = json.loads((runs[0].path / "udr.json").read_text())
    assert value == pytest.approx(np.mean(written["lasso"]["scores"]))
    assert one.measure([runs[0], runs[0]]) > value


@pytest.mark.slow
def test_what_the_evaluator_cannot_read_is_told_in_its_words(run):
    run.model.write_bytes(b"no TorchScript")
    with pytest.raises(UserError, match=r"pytorch_model\.pt"):
        criterion("mig", datasets.load("mpi3d_mini"), ()).measure([run])
