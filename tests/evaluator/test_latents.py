import math

import pytest

from evaluator.latents import latents_of


def record(kl: list, variance: list) -> dict:
    return {"kl_per_latent": kl, "posterior_mean_variance_per_latent": variance}


def test_latents_in_use_fall_by_the_variance_of_their_means():
    latents = latents_of(record([0.69, 3.0, 1.0], [0.3, 0.011, 0.9]))
    assert (latents.in_use, latents.ignored) == ((2, 0, 1), ())


def test_a_kl_that_is_spent_on_narrow_posteriors_is_no_use():
    """Latent 1 has the same posterior for every image, a twentieth as wide as the prior."""
    latents = latents_of(record([1.5, 0.5 * (1 / 400 - 1) + math.log(20)], [0.8, 0.01]))
    assert (latents.in_use, latents.ignored) == ((0,), (1,))


def test_means_that_wander_within_the_noise_are_no_use():
    """The values are those of a beta-VAE, moving whose latent 14 changes nothing to be seen."""
    latents = latents_of(record([3.74, 0.31], [1.257, 0.0451]))
    assert (latents.in_use, latents.ignored) == ((0,), (1,))


@pytest.mark.parametrize(
    "told",
    [
        {},
        # As earlier versions recorded it.
        {"kl_per_latent": [1.0]},
        record([], []),
        record([1.0], [1.0, 1.0]),
        record([1.0], [math.nan]),
        record([1.0], ["1"]),
        record([10**400], [1.0]),
        record("x", {"a": 1}),
    ],
)
def test_a_record_that_does_not_tell_has_none(told):
    assert latents_of(told) is None
