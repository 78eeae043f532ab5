"""What a search maximises: the ELBO or UDR, which need no labels, or a metric, which does."""

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from submission.command_line import EXIT_USER_ERROR
from submission.errors import UserError, nearest
from submission.runs.folder import RunFolder
from submission.runs.processes import end, last_line, start
from submission.runs.scores import read_scores

if TYPE_CHECKING:
    import numpy as np

    from submission.datasets import Dataset

ELBO = "elbo"
UDR = "udr"

_ELBO_IMAGES = 1024
_ELBO_BATCH = 128


class MeasuringFailed(Exception):
    """A run whose criterion can't be computed; the message says why."""


@dataclass(frozen=True)
class Criterion:
    """A number that says which of two settings is better: the higher one.

    Attributes:
        name: `elbo`, `udr` or the metric's.
        supervised: Whether it uses the factors' labels.
        prunes: Whether it can be taken of one run's snapshot.
        measure: The number, from the folders of a setting's runs, which differ in their seed. One
            folder, or the folder of a snapshot, unless it is UDR.
    """

    name: str
    supervised: bool
    prunes: bool
    measure: Callable[[Sequence[RunFolder]], float]

    @property
    def label(self) -> str:
        """The name, and what a reader must know before trusting it."""
        kind = "supervised: uses the factors' labels" if self.supervised else "unsupervised"
        return f"{self.name} ({kind})"


def check_name(name: str) -> None:
    """Refuses a criterion that there isn't, before anything is imported that takes seconds.

    Raises:
        UserError: The line names the nearest one.
    """
    from evaluator.metrics import ALL_METRICS

    valid = (ELBO, UDR, *ALL_METRICS)
    if name not in valid:
        raise UserError(f"unknown criterion {name!r}: {nearest(name, valid)}")


def criterion(name: str, dataset: "Dataset", evaluation: Sequence[str]) -> Criterion:
    """Makes a criterion ready to measure.

    Args:
        name: A name that `check_name` lets pass.
        dataset: What the runs are trained on.
        evaluation: Settings of the evaluator, of which a metric takes its own.

    Returns:
        The criterion.
    """
    if name == ELBO:
        images = _sample(dataset)
        return Criterion(name, False, True, lambda folders: elbo(folders[0], images))
    if name == UDR:
        return Criterion(name, False, False, partial(udr, dataset=dataset.address))

    from evaluator.metrics import ALL_METRICS

    relevant = [
        binding
        for binding in evaluation
        if binding.partition("=")[0].strip() in ALL_METRICS[name].settings
    ]
    return Criterion(
        name, True, True, lambda folders: score(folders[0], name, dataset.address, relevant)
    )


def elbo(folder: RunFolder, images: "np.ndarray") -> float:
    """The evidence lower bound, E_q[log p(x|z)] - KL(q(z|x) || p(z)), in nats per image.

    It is the bound of the plain VAE (Kingma & Welling 2013, Eq. 3), with Bernoulli pixels, whatever
    the method's own objective was: beta = 1, no capacity, no penalty. The KL is in closed form, the
    expectation one sample of z for each image; images and noise are the same in every call.

    What it can't tell:

    - Whether the latents are disentangled. It is highest where nothing but the bound is optimised,
      so it prefers the weakest regularisation that the range of a beta, gamma or lambda allows, and
      as much capacity as the images need. Use it to find where a method still reconstructs.
    - Whether a larger number is a better bound or a different trade: settings such as
      `capacity.final` and beta move the KL on purpose. Its two parts stand in `history.csv`.
    - Anything about unseen images: these data sets are trained on whole.

    Args:
        folder: A run, or a snapshot of one.
        images: float32 `[n, 64, 64, channels]` in [0, 1].

    Returns:
        The bound; higher is better.
    """
    import numpy as np
    import torch

    from submission.networks import Posterior
    from submission.objectives import bernoulli_reconstruction, kl_to_prior

    # Training keeps the cores busy meanwhile, and threads that wait for each other would crawl. Nor
    # shall the last bits depend on how many cores there are.
    torch.set_num_threads(1)
    encoder = torch.jit.load(str(folder.model)).encoder
    decoder = torch.jit.load(str(folder.decoder)).decoder
    generator = torch.Generator().manual_seed(0)
    total = 0.0
    with torch.inference_mode():
        for part in np.array_split(images, math.ceil(len(images) / _ELBO_BATCH)):
            batch = torch.from_numpy(part).permute(0, 3, 1, 2)
            posterior = Posterior(*encoder(batch))
            noise = torch.randn(posterior.mean.shape, generator=generator)
            reconstruction = bernoulli_reconstruction(decoder(posterior.sample(noise)), batch)
            kl = kl_to_prior(posterior).sum(dim=1).mean()
            total += len(part) * float(reconstruction + kl)
    return _finite(ELBO, -total / len(images), folder)


def score(folder: RunFolder, metric: str, dataset: str, bindings: Sequence[str]) -> float:
    """A metric of the evaluator; what is scored already isn't scored again.

    Args:
        folder: A run, or a snapshot of one; gets `scores.json`.
        metric: The metric's name.
        dataset: The data set's name, or the path of one's own.
        bindings: Settings of the metric.

    Returns:
        The score; higher is better.

    Raises:
        UserError: The evaluator refuses the settings or the data set.
        MeasuringFailed: The evaluator fails otherwise.
    """
    if not _is_scored(folder, metric, bindings):
        settings = [part for binding in bindings for part in ("--gin", binding)]
        _run(
            "evaluator",
            [
                *(str(folder.representation), "--dataset", dataset, "--metrics", metric),
                *("--output", str(folder.path), "--no-report", *settings),
            ],
            folder.path / "scoring.log",
        )
    return read_scores(folder.scores).scores[metric]


def udr(folders: Sequence[RunFolder], dataset: str) -> float:
    """Unsupervised disentanglement ranking (Duan et al. 2020): how alike runs of other seeds are.

    The mean over the runs of the evaluator's scores with the Lasso, each the median over the run's
    comparisons with the others. Two or three seeds give a coarse number: Duan et al. compare every
    run with tens of others. A setting under which almost all latents collapse can score high, since
    one latent is easily alike: look at the latents in use beside it.

    Args:
        folders: Runs that differ in their seed, two or more; the first gets `udr.json`.
        dataset: The data set's name, or the path of one's own.

    Returns:
        The mean, in [0, 1].

    Raises:
        UserError: The evaluator refuses the data set.
        MeasuringFailed: The evaluator fails otherwise.
    """
    output = folders[0].path
    _run(
        "evaluator.udr",
        [
            *(str(folder.representation) for folder in folders),
            *("--dataset", dataset, "--output", str(output)),
        ],
        output / "scoring.log",
    )
    scores = json.loads((output / "udr.json").read_text())["lasso"]["scores"]
    return _finite(UDR, sum(scores) / len(scores), folders[0])


def _sample(dataset: "Dataset") -> "np.ndarray":
    """A fixed random sample of different images, float32 `[n, 64, 64, channels]` in [0, 1]."""
    import numpy as np

    generator = np.random.RandomState(0)
    count = min(_ELBO_IMAGES, len(dataset.images))
    indices = np.sort(generator.choice(len(dataset.images), count, replace=False))
    return dataset.observe(indices, generator)


def _is_scored(folder: RunFolder, metric: str, bindings: Sequence[str]) -> bool:
    """Whether the scores are of this very representation, with these settings."""
    from evaluator.metrics import ALL_METRICS, settings
    from evaluator.representations import sha256

    if not folder.scores.exists():
        return False
    scored = read_scores(folder.scores)
    provenance = scored.provenance
    recorded, asked = (
        settings(ALL_METRICS[metric], provenance["preset"], given)
        for given in (provenance["gin_bindings"], bindings)
    )
    return (
        metric in scored.scores
        and recorded == asked
        and provenance["representation_sha256"] == sha256(folder.model)
    )


def _run(module: str, arguments: Sequence[str], log: Path) -> None:
    process = start(module, arguments, log, {})
    try:
        code = process.wait()
    finally:
        end(process)
    said = last_line(log) or "it said nothing"
    if code == EXIT_USER_ERROR:
        raise UserError(said)
    if code:
        raise MeasuringFailed(f"{said} (see {os.path.relpath(log)})")


def _finite(name: str, value: float, folder: RunFolder) -> float:
    if not math.isfinite(value):
        raise MeasuringFailed(f"the {name} of {folder.path} is {value}")
    return value
