"""disentanglement_lib's own metrics on a table of codes: its loops draw, nothing is encoded twice.

For metrics that have no faster form: what they are given as images are the images' numbers, and
what encodes them looks the codes up.
"""

from collections.abc import Sequence

import numpy as np

from evaluator import metrics
from evaluator.codes import Codes
from evaluator.ground_truth import GroundTruth
from evaluator.metrics import Metric, Result
from evaluator.representations import Representation


class _Numbers(GroundTruth):
    """The data set, with the number of each image in its place."""

    def sample_observations_from_factors(
        self, factors: np.ndarray, random_state: np.random.RandomState
    ) -> np.ndarray:
        """Draws what the data set draws; int64 [n], rows of the data set's images."""
        return self.dataset.image_indices(factors, random_state)


def score(
    codes: Codes, metric: Metric, seed: int, preset: str, bindings: Sequence[str] = ()
) -> Result:
    """Scores as `metrics.run` does, to the last bit for the same codes.

    Args:
        codes: The codes by image.
        metric: The metric.
        seed: The seed.
        preset: The preset.
        bindings: Checked bindings.

    Returns:
        The result.

    Raises:
        UserError: As `metrics.run`.
    """
    if metric.name == "beta_vae":
        values = metrics.settings(metric, preset, bindings)
        points = values["beta_vae_sklearn.num_train"] + values["beta_vae_sklearn.num_eval"]
        everything = np.arange(len(codes.dataset.images))
        # Most images will be drawn: full batches are faster than what each small one misses.
        if 2 * points * values["beta_vae_sklearn.batch_size"] >= len(everything):
            codes.fill(everything)
    origin = codes.representation
    table = Representation(origin.path, codes.__getitem__, origin.latents, origin.repeatable)
    return metrics.run(metric, _Numbers(codes.ground_truth.dataset), table, seed, preset, bindings)
