"""Which latents of a model are in use, by what its training recorded of their posteriors."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LEAST_VARIANCE = 0.01
"""A latent whose posterior mean varies no more than this over images is ignored.

It is the rule of Burda et al. (2016, Section 5, "active units").
"""

LEAST_NATS = 0.69
"""So is one whose KL to the prior is under this, which is one bit.

The KL, averaged over images, is an upper bound of what the latent tells about the image (Hoffman &
Johnson 2016), so little of it proves that a latent tells little. Much of it proves nothing: a
target for the KL, the capacity, is also met by a posterior that is narrow and the same everywhere.
The variance alone isn't enough either: codes that wander by a fifth of their own noise pass it.
"""

NOT_RECORDED = "training/run.json tells no KL and no variance of the posterior mean per latent"


@dataclass(frozen=True)
class Latents:
    """The latents of a model, numbered from 0.

    Attributes:
        kl: KL(q(z_j|x) || p(z_j)) of each in nats, averaged over images.
        variance: The variance of each one's posterior mean over images.
        in_use: Those in use, by falling variance.
        ignored: The others, likewise.
    """

    kl: tuple[float, ...]
    variance: tuple[float, ...]
    in_use: tuple[int, ...]
    ignored: tuple[int, ...]


def latents_of(record: Mapping[str, Any]) -> Latents | None:
    """Parts a model's latents.

    Args:
        record: The content of `training/run.json`.

    Returns:
        None where it doesn't tell, as earlier versions' doesn't.

    Example:
        >>> record = {"kl_per_latent": [2.0, 0.1], "posterior_mean_variance_per_latent": [0.9, 0.0]}
        >>> latents_of(record).in_use
        (0,)
    """
    kl = finite_numbers(record.get("kl_per_latent"))
    variance = finite_numbers(record.get("posterior_mean_variance_per_latent"))
    if not variance or len(kl) != len(variance):
        return None
    order = sorted(range(len(variance)), key=lambda latent: -variance[latent])
    used = [variance[one] > LEAST_VARIANCE and kl[one] >= LEAST_NATS for one in range(len(kl))]
    return Latents(
        kl=kl,
        variance=variance,
        in_use=tuple(latent for latent in order if used[latent]),
        ignored=tuple(latent for latent in order if not used[latent]),
    )


def finite_numbers(values: object) -> tuple[float, ...]:
    """A list of numbers; empty where it is anything else, or one of them isn't finite."""
    if not isinstance(values, list) or not all(type(one) in (int, float) for one in values):
        return ()
    try:
        numbers = tuple(map(float, values))
    except OverflowError:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()
