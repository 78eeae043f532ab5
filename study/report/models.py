"""What the exported models show: traversals (paper, Figures 1 to 6) and reconstruction errors."""

import contextlib
import io
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from evaluator.latents import NOT_RECORDED
from evaluator.report.inline_images import own_style
from evaluator.report.traversals import (
    IMAGES_IN_A_ROW,
    SEED,
    TRAVERSAL_RANGE,
    Autoencoder,
    model_missing,
    opened,
    strip_png,
    traverse,
)
from study.report.figures import PIXELS_PER_INCH, png_bytes
from study.report.results import Results, Run
from study.report.wording import listed, signed
from submission import datasets
from submission.datasets import Dataset
from submission.errors import UserError
from submission.runs.folder import RunFolder
from submission.runs.record import dataset_of

IMAGES = 512
"""The same of each run are reconstructed."""

VALUES = tuple(np.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, IMAGES_IN_A_ROW).tolist())
"""What a latent is moved to, in standard deviations of the prior."""

# Bounds on what is drawn, so that a page stays under 6 MB: latents of a method's first run, latents
# of any other, and how many others.
_MOST_LATENTS = 20
_MOST_LATENTS_OF_OTHERS = 8
_MOST_OTHERS = 48

# Where the paper shows each method.
_PAPER_FIGURES = {
    "info_vae": 1,
    "beta_tcvae": 2,
    "beta_vae": 3,
    "factor_vae": 4,
    "dip_vae_i": 5,
    "dip_vae_ii": 6,
}


# A latent, the variance of its posterior mean, and a strip of images, PNG.
_Rows = list[tuple[int, float, bytes]]


@dataclass(frozen=True)
class Traversal:
    """The latents of one run in use, each moved.

    Attributes:
        run: Whose they are.
        is_first: Whether it is its method's first run.
        rows: A latent, the variance of its posterior mean and its strip, PNG, by falling variance.
        reason: Why there are no rows.
    """

    run: Run
    is_first: bool
    rows: _Rows
    reason: str

    @property
    def figure(self) -> int | None:
        """The paper's figure of this method; None if it has none."""
        return _PAPER_FIGURES.get(self.run.method) if not self.run.variant else None


def open_dataset(results: Results) -> tuple[Dataset | None, str]:
    """The data set of the runs, and, where it can't be had, why."""
    names = sorted({str(dataset_of(run.record)) for run in results.runs})
    if not names:
        return None, "there are no runs"
    if len(names) > 1:
        return None, f"the runs differ in their data set: {listed(names)}"
    try:
        dataset = datasets.load(names[0])
    except UserError as error:
        return None, str(error)
    if any(run.record.get("dataset_fingerprint") != dataset.fingerprint() for run in results.runs):
        return None, f"the images of {dataset.name} here are not those that were trained on"
    return dataset, ""


def traversals(results: Results, dataset: Dataset) -> list[Traversal]:
    """Of each run, methods in the order of the paper's figures, then others.

    The image is the same for all: the first that `evaluator.report.traversals.SEED` draws.
    """
    first = {run.label: run.name for run in reversed(results.runs)}
    others = [run.name for run in results.runs if run.name not in first.values()]
    reasons = {run.name: model_missing(RunFolder(run.folder)) for run in results.runs}
    reasons |= dict.fromkeys(
        others[_MOST_OTHERS:],
        f"the page has room for {_MOST_OTHERS} runs beside each method's first",
    )
    random_state = np.random.RandomState(SEED)
    chosen = random_state.randint(len(dataset.images), size=IMAGES)
    image = dataset.observe(chosen[:1], random_state)
    there = [run for run in results.runs if not reasons[run.name]]
    rows: dict[str, _Rows] = {}
    try:
        with opened([RunFolder(run.folder) for run in there], dataset.observation_shape) as models:
            for run, model in zip(there, models, strict=True):
                most = _MOST_LATENTS_OF_OTHERS if run.name in others else _MOST_LATENTS
                rows[run.name], reasons[run.name] = _moved(model, image, run, most)
    except UserError as error:
        rows, reasons = {}, dict.fromkeys(reasons, str(error))
    found = [
        Traversal(run, run.name not in others, rows.get(run.name, []), reasons[run.name])
        for run in results.runs
    ]
    return sorted(found, key=lambda one: one.figure or len(_PAPER_FIGURES) + 1)


def _moved(
    model: Autoencoder, image: NDArray[np.float32], run: Run, most: int
) -> tuple[_Rows, str]:
    """The rows of a run, or why there are none."""
    if run.latents is None:
        return [], NOT_RECORDED
    if not run.latents.in_use:
        return [], f"all {len(run.latents.ignored)} latents are ignored"
    try:
        code = model.encode(image)[0]
        if len(run.latents.kl) != len(code):
            given = len(run.latents.kl)
            return [], f"training/run.json has {given} latents, the encoder {len(code)}"
        values = np.array(VALUES)
        return [
            (latent, run.latents.variance[latent], strip_png(traverse(model, code, latent, values)))
            for latent in run.latents.in_use[:most]
        ], ""
    except UserError as error:
        # Anybody's module may stand there.
        return [], f"encoder and decoder fail ({error})"


def reconstruction_errors(results: Results, dataset: Dataset) -> dict[str, float]:
    """The mean squared error a pixel, with pixels in [0, 1], from the posterior means.

    Returns:
        By the name of the run; runs whose models are missing or fail are left out.
    """
    random_state = np.random.RandomState(SEED)
    chosen = random_state.randint(len(dataset.images), size=IMAGES)
    images = dataset.observe(chosen, random_state)
    errors = {}
    there = [run for run in results.runs if not model_missing(RunFolder(run.folder))]
    # Where nothing confines the models, `traversals` tells it.
    with (
        contextlib.suppress(UserError),
        opened([RunFolder(run.folder) for run in there], dataset.observation_shape) as models,
    ):
        for run, model in zip(there, models, strict=True):
            try:
                decoded = model.decode(model.encode(images))
            except UserError:
                continue
            errors[run.name] = float(np.square(images - decoded).mean(dtype=np.float64))
    return errors


def sheet_png(traversal: Traversal) -> bytes:
    """A method's rows as one picture: a latent a row, a value a column."""
    rows = traversal.rows
    strips = [np.asarray(Image.open(io.BytesIO(strip))) for _, _, strip in rows]
    height, width, _ = strips[0].shape
    gap = np.zeros((1, width, 4), np.uint8)
    pixels = np.concatenate([part for strip in strips for part in (strip, gap)][:-1])
    # Two dots a pixel, and a margin for the labels.
    left, top = 0.9, 0.55
    wide, high = (2 * size / PIXELS_PER_INCH for size in (pixels.shape[1], pixels.shape[0]))
    with own_style():
        figure = Figure(figsize=(left + wide + 0.1, top + high + 0.1), dpi=PIXELS_PER_INCH)
        full_width, full_height = figure.get_size_inches()
        axes = figure.add_axes(
            (left / full_width, 0.1 / full_height, wide / full_width, high / full_height)
        )
        axes.imshow(pixels, interpolation="none", aspect="auto")
        labels = [rf"$z_{{{latent}}}$  {variance:.2f}" for latent, variance, _ in rows]
        axes.set_yticks((np.arange(len(rows)) + 0.5) * (height + 1), labels, fontsize=8)
        places = (np.arange(IMAGES_IN_A_ROW) + 0.5) * width / IMAGES_IN_A_ROW
        axes.set_xticks(places, [moved_to(value) for value in VALUES], fontsize=8)
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        title = f"{traversal.run.label}, seed {traversal.run.seed}"
        figure.text(0.1 / full_width, 1 - 0.05 / full_height, title, fontsize=9, va="top")
        return png_bytes(figure)


def moved_to(value: float) -> str:
    """A latent's value, such as `+1.3` standard deviations of the prior."""
    return signed(value, 1) if value else "0"
