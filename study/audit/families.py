"""Representations made of the factors themselves, each family with a dial from perfect to spoilt.

A family is a function of the factors of every state, int64 [states, factors], of the dial's value
and of a generator; it returns codes [states, latents]. The perfect representation is the factors,
one latent each, with mean 0 and variance 1 over the grid.

Two sources of many of them: Carbonneau et al. (2022), "Measuring Disentanglement: A Review of
Metrics", and Sepliarskaia et al. (2019), "How to Not Measure Disentanglement".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evaluator.metrics import Metric, settings
from evaluator.metrics.metric import Samples

Build = Callable[[np.ndarray, float, np.random.RandomState], np.ndarray]
Bind = Callable[[Metric, float], Sequence[str]]

MODULARITY = "modularity"
COMPACTNESS = "compactness"
EXPLICITNESS = "explicitness"
ROBUSTNESS = "robustness"
INVARIANCE = "invariance"
PROTOCOL = "protocol"

PROPERTIES: Mapping[str, str] = {
    MODULARITY: "each latent tells of one factor only",
    COMPACTNESS: "each factor is told by one latent only",
    EXPLICITNESS: "the factors can be read off the latents, all of them and simply",
    ROBUSTNESS: "the latents hold nothing but the factors",
    INVARIANCE: "what changes nothing of the above changes no score",
    PROTOCOL: "the number of samples and the metric's own settings change no score",
}
"""What a family breaks, and what that means."""

_CARBONNEAU = "Carbonneau et al. 2022, Section"
_OWN = "this project"


@dataclass(frozen=True)
class Family:
    """Representations that differ in one number.

    Attributes:
        name: In files, and on the command line.
        title: What it does to the perfect representation.
        dial: What its number is.
        values: The number's values, from the least spoilt on.
        breaks: One of `PROPERTIES`.
        source: Who has put a metric to it, or to its like.
        build: Makes the codes.
        start: The value that is the perfect representation, which isn't made anew; None where
            none is.
        log: Whether the dial is read on a logarithmic scale.
        coupled: Whether the dial couples the factors' draws instead of changing the codes.
        bind: The settings that a value means for a metric; the metrics that it gives none for are
            left out. None where the dial changes no setting.
    """

    name: str
    title: str
    dial: str
    values: tuple[float, ...]
    breaks: str
    source: str
    build: Build
    start: float | None = 0.0
    log: bool = False
    coupled: bool = False
    bind: Bind | None = None


def standardised(factors: np.ndarray) -> np.ndarray:
    """The perfect representation: each factor with mean 0 and variance 1 over the grid.

    Args:
        factors: int64 [states, factors].

    Returns:
        float64 [states, factors]; zeros for a factor of one value.
    """
    return _scaled_to_unit(factors)


def perfect(factors: np.ndarray, dial: float, random: np.random.RandomState) -> np.ndarray:
    """The factors, one latent each."""
    return standardised(factors)


# --- Modularity ---------------------------------------------------------------------------------


def rotated(factors: np.ndarray, degrees: float, random: np.random.RandomState) -> np.ndarray:
    """Factors 0 and 1, 2 and 3, … rotated into each other; an odd last one stays."""
    codes = standardised(factors)
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    even = 2 * (codes.shape[1] // 2)
    first, second = codes[:, 0:even:2].copy(), codes[:, 1:even:2].copy()
    codes[:, 0:even:2] = cosine * first - sine * second
    codes[:, 1:even:2] = sine * first + cosine * second
    return _without_residue(codes)


def blended(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """Each latent is (1 - share) times its own factor and share times the next one."""
    codes = standardised(factors)
    return (1 - share) * codes + share * np.roll(codes, 1, axis=1)


def mixed(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """The factors times (1 - share) I + share Q, with Q a random orthogonal matrix."""
    codes = standardised(factors)
    count = codes.shape[1]
    orthogonal, triangle = np.linalg.qr(random.standard_normal((count, count)))
    # With these signs the matrix is uniform over all orthogonal ones (Mezzadri 2007).
    orthogonal *= np.sign(np.diag(triangle))
    return codes @ ((1 - share) * np.eye(count) + share * orthogonal)


def tangled(factors: np.ndarray, latents: float, random: np.random.RandomState) -> np.ndarray:
    """A random linear map into so many latents; none of them stands for a factor."""
    codes = standardised(factors)
    return codes @ random.standard_normal((codes.shape[1], int(latents)))


def merged(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """That share of the pairs of factors in one latent, which numbers the pair's values."""
    codes = standardised(factors)
    pairs = _count(share, factors.shape[1] // 2)
    sizes = factors.max(axis=0) + 1
    together = [
        factors[:, 2 * pair] * sizes[2 * pair + 1] + factors[:, 2 * pair + 1]
        for pair in range(pairs)
    ]
    if not together:
        return codes
    return np.concatenate([standardised(np.stack(together, 1)), codes[:, 2 * pairs :]], axis=1)


# --- Compactness --------------------------------------------------------------------------------


def copied(factors: np.ndarray, copies: float, random: np.random.RandomState) -> np.ndarray:
    """The perfect representation and so many copies, the last of which may be a part of it."""
    codes = standardised(factors)
    count = codes.shape[1]
    return np.concatenate([codes, codes[:, np.arange(_count(copies, count)) % count]], axis=1)


def one_hot(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """That share of the factors as a latent for each of their values."""
    codes = standardised(factors)
    count = _count(share, factors.shape[1])
    spread = [
        (factors[:, [factor]] == np.arange(factors[:, factor].max() + 1)).astype(float)
        for factor in range(count)
    ]
    return np.concatenate([*spread, codes[:, count:]], axis=1)


def circled(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """That share of the factors as the sine and cosine of an angle, a turn for all values."""
    codes = standardised(factors)
    count = _count(share, factors.shape[1])
    angles = 2 * np.pi * factors[:, :count] / (factors[:, :count].max(axis=0) + 1)
    turned = _without_residue(np.concatenate([np.cos(angles), np.sin(angles)], axis=1))
    return np.concatenate([turned, codes[:, count:]], axis=1)


# --- Explicitness -------------------------------------------------------------------------------


def bent(factors: np.ndarray, strength: float, random: np.random.RandomState) -> np.ndarray:
    """A tangent, monotone: nearly straight for strength 0, nearly all in its ends for 1."""
    steepness = 1000 ** (strength - 0.25)
    codes = np.tan(2 * np.arctan(steepness / 2) * (_relative(factors) - 0.5))
    return _scaled_to_unit(codes)


def waved(factors: np.ndarray, strength: float, random: np.random.RandomState) -> np.ndarray:
    """A curve that rises and falls, so that far values lie close: z + strength sin(3 pi x)."""
    return standardised(factors) + strength * np.sin(3 * np.pi * _relative(factors))


def folded(factors: np.ndarray, where: float, random: np.random.RandomState) -> np.ndarray:
    """The distance from a value inside the range: two values on either side share a code."""
    last = factors.max(axis=0)
    return standardised(np.abs(factors - np.floor(where * last + 0.5).astype(int)))


def dropped(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """Factors left out, all but the last where the share is 1."""
    return standardised(factors)[:, _count(share, factors.shape[1] - 1) :]


def quantised(factors: np.ndarray, levels: float, random: np.random.RandomState) -> np.ndarray:
    """So many levels at most: neighbouring values share a code."""
    sizes = factors.max(axis=0) + 1
    return standardised(np.floor(factors * np.minimum(levels, sizes) / sizes))


# --- Robustness ---------------------------------------------------------------------------------


def noisy(factors: np.ndarray, deviation: float, random: np.random.RandomState) -> np.ndarray:
    """Normal noise of that standard deviation on every latent; a factor's own is 1."""
    codes = standardised(factors)
    return codes + deviation * random.standard_normal(codes.shape)


def drowned(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """(1 - share) times the factor, share times uniform noise of the factor's own range."""
    uniform = random.uniform(size=factors.shape)
    return (1 - share) * _relative(factors) + share * uniform


def with_noise(factors: np.ndarray, latents: float, random: np.random.RandomState) -> np.ndarray:
    """The perfect representation, and so many latents of normal noise of variance 1."""
    return _beside(factors, int(latents), random, 1.0)


def with_faint_noise(
    factors: np.ndarray, latents: float, random: np.random.RandomState
) -> np.ndarray:
    """The same with noise of standard deviation 0.01."""
    return _beside(factors, int(latents), random, 0.01)


def with_loud_noise(
    factors: np.ndarray, latents: float, random: np.random.RandomState
) -> np.ndarray:
    """The same with noise of standard deviation 100."""
    return _beside(factors, int(latents), random, 100.0)


# --- Invariance ---------------------------------------------------------------------------------


def scaled(factors: np.ndarray, scale: float, random: np.random.RandomState) -> np.ndarray:
    """All latents times a number."""
    return standardised(factors) * scale


def one_scaled(factors: np.ndarray, scale: float, random: np.random.RandomState) -> np.ndarray:
    """The first latent times a number."""
    codes = standardised(factors)
    codes[:, 0] *= scale
    return codes


def permuted(factors: np.ndarray, share: float, random: np.random.RandomState) -> np.ndarray:
    """The values of that share of the factors in another order, at random."""
    changed = factors.copy()
    for factor in range(_count(share, factors.shape[1])):
        changed[:, factor] = random.permutation(factors[:, factor].max() + 1)[factors[:, factor]]
    return standardised(changed)


def with_constants(
    factors: np.ndarray, latents: float, random: np.random.RandomState
) -> np.ndarray:
    """The perfect representation, and so many latents that never change."""
    constants = np.broadcast_to(random.standard_normal(int(latents)), (len(factors), int(latents)))
    return np.concatenate([standardised(factors), constants], axis=1)


# --- Protocol -----------------------------------------------------------------------------------


def half_noise(factors: np.ndarray, dial: float, random: np.random.RandomState) -> np.ndarray:
    """As much noise as factor in every latent."""
    return noisy(factors, 1.0, random)


def only_noise(factors: np.ndarray, dial: float, random: np.random.RandomState) -> np.ndarray:
    """A latent of noise for each factor, which tell nothing."""
    return random.standard_normal(factors.shape)


def sample_sizes(metric: Metric, samples: float) -> list[str]:
    """Settings that draw so many samples where the challenge draws 10,000, in proportion.

    Args:
        metric: The metric.
        samples: How many.

    Returns:
        Bindings such as `dci.num_train = 100`.
    """
    challenge = settings(metric, "challenge")
    return [
        f"{name} = {max(10, round(challenge[name] * samples / 10_000))}"
        for name, kind in metric.settings.items()
        if kind is Samples
    ]


def _setting(*names: str, whole: bool = False) -> Bind:
    def bind(metric: Metric, value: float) -> list[str]:
        text = repr(int(value) if whole else value)
        return [f"{name} = {text}" for name in names if name in metric.settings]

    return bind


# --- What several need --------------------------------------------------------------------------


def _count(share: float, of: int) -> int:
    return int(np.floor(share * of + 0.5))


def _scaled_to_unit(values: np.ndarray) -> np.ndarray:
    """Values less their mean, in units of their standard deviation where it isn't 0."""
    centred = values - values.mean(axis=0)
    deviation = centred.std(axis=0)
    return centred / np.where(deviation > 0, deviation, 1)


def _without_residue(codes: np.ndarray) -> np.ndarray:
    """Without what a sine of pi leaves of 0, which float32 would still tell values apart by."""
    return codes.round(12) + 0.0


def _relative(factors: np.ndarray) -> np.ndarray:
    """Values in [0, 1]."""
    return factors / np.maximum(factors.max(axis=0), 1)


def _beside(
    factors: np.ndarray, latents: int, random: np.random.RandomState, deviation: float
) -> np.ndarray:
    noise = deviation * random.standard_normal((len(factors), latents))
    return np.concatenate([standardised(factors), noise], axis=1)


_SHARES = (0.25, 0.5, 0.75, 1.0)
_ADDED = (1, 3, 10, 30, 100)
_SCALES = (1e-4, 1e-3, 1e-2, 1e-1, 10, 100, 1e4)
_SAMPLES = (100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)

PERFECT = Family(
    "perfect",
    "The factors themselves",
    "nothing",
    (0,),
    INVARIANCE,
    _OWN,
    perfect,
    start=None,
)
"""What most dials start from."""

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        PERFECT,
        Family(
            "rotated",
            "Pairs of factors rotated into each other",
            "angle in degrees",
            (5, 10, 22.5, 33.75, 45),
            MODULARITY,
            "Sepliarskaia et al. 2019",
            rotated,
        ),
        Family(
            "blended",
            "Each latent takes a share of the next factor",
            "share of the next factor",
            (0.1, 0.2, 0.3, 0.4, 0.5),
            MODULARITY,
            f"{_CARBONNEAU} 5.3",
            blended,
        ),
        Family(
            "mixed",
            "A random rotation of all factors",
            "share of the rotation",
            (0.1, 0.25, 0.5, 0.75, 1.0),
            MODULARITY,
            _OWN,
            mixed,
        ),
        Family(
            "merged",
            "Two factors in one latent",
            "share of the pairs of factors",
            (0.34, 0.67, 1.0),
            MODULARITY,
            "Sepliarskaia et al. 2019",
            merged,
        ),
        Family(
            "copied",
            "Latents copied",
            "copies of each latent",
            (*_SHARES, 3),
            COMPACTNESS,
            f"{_CARBONNEAU} 5.4, second and third",
            copied,
        ),
        Family(
            "one_hot",
            "Factors as one latent a value",
            "share of the factors",
            _SHARES,
            COMPACTNESS,
            _OWN,
            one_hot,
        ),
        Family(
            "circled",
            "Factors as sine and cosine",
            "share of the factors",
            _SHARES,
            COMPACTNESS,
            f"{_CARBONNEAU} 5.4, first",
            circled,
        ),
        Family(
            "bent",
            "A tangent, ever steeper",
            "strength",
            (0.2, 0.4, 0.6, 0.8, 1.0),
            EXPLICITNESS,
            f"{_CARBONNEAU} 5.5",
            bent,
        ),
        Family(
            "waved",
            "A curve that rises and falls",
            "strength",
            (0.5, 1, 2, 4),
            EXPLICITNESS,
            _OWN,
            waved,
        ),
        Family(
            "folded",
            "A fold, which gives two values one code",
            "place of the fold in the range",
            (0.15, 0.25, 0.35, 0.5),
            EXPLICITNESS,
            _OWN,
            folded,
        ),
        Family(
            "quantised",
            "Codes of few levels",
            "levels",
            (8, 5, 3, 2, 1),
            EXPLICITNESS,
            _OWN,
            quantised,
            start=16,
            log=True,
        ),
        Family(
            "dropped",
            "Factors left out, till one is left",
            "share of the factors",
            (0.17, 0.34, 0.5, 0.67, 0.84, 1.0),
            EXPLICITNESS,
            "Mahon et al. 2023",
            dropped,
        ),
        Family(
            "noisy",
            "Normal noise on every latent",
            "standard deviation of the noise, in the factor's",
            (0.1, 0.25, 0.5, 1, 2, 4, 8),
            ROBUSTNESS,
            f"{_CARBONNEAU} 5.2",
            noisy,
        ),
        Family(
            "drowned",
            "Factors that give way to uniform noise",
            "share of the noise",
            (0.2, 0.4, 0.6, 0.8, 1.0),
            ROBUSTNESS,
            f"{_CARBONNEAU} 5.2",
            drowned,
        ),
        Family(
            "with_noise",
            "Latents of noise added",
            "latents added",
            _ADDED,
            ROBUSTNESS,
            f"{_CARBONNEAU} 5.6",
            with_noise,
        ),
        Family(
            "with_faint_noise",
            "Latents of faint noise added",
            "latents added, of a hundredth of the scale",
            _ADDED,
            ROBUSTNESS,
            _OWN,
            with_faint_noise,
        ),
        Family(
            "with_loud_noise",
            "Latents of loud noise added",
            "latents added, of a hundred times the scale",
            _ADDED,
            ROBUSTNESS,
            _OWN,
            with_loud_noise,
        ),
        Family(
            "scaled",
            "All latents scaled",
            "scale",
            _SCALES,
            INVARIANCE,
            _OWN,
            scaled,
            start=1,
            log=True,
        ),
        Family(
            "one_scaled",
            "One latent scaled",
            "scale",
            _SCALES,
            INVARIANCE,
            _OWN,
            one_scaled,
            start=1,
            log=True,
        ),
        Family(
            "permuted",
            "Values in another order",
            "share of the factors",
            _SHARES,
            INVARIANCE,
            _OWN,
            permuted,
        ),
        Family(
            "with_constants",
            "Constant latents added",
            "latents added",
            _ADDED,
            INVARIANCE,
            _OWN,
            with_constants,
        ),
        Family(
            "correlated",
            "Factors drawn together",
            "share of draws in which a factor follows another",
            (0.2, 0.4, 0.6, 0.8, 0.95),
            INVARIANCE,
            "Träuble et al. 2021",
            perfect,
            coupled=True,
        ),
        Family(
            "tangled",
            "A random linear map into more latents",
            "latents",
            (7, 10, 20, 50),
            INVARIANCE,
            _OWN,
            tangled,
            start=None,
            log=True,
        ),
        Family(
            "samples",
            "Samples, of factors half drowned in noise",
            "samples",
            _SAMPLES,
            PROTOCOL,
            _OWN,
            half_noise,
            start=None,
            log=True,
            bind=sample_sizes,
        ),
        Family(
            "samples_of_noise",
            "Samples, of noise alone",
            "samples",
            _SAMPLES,
            PROTOCOL,
            _OWN,
            only_noise,
            start=None,
            log=True,
            bind=sample_sizes,
        ),
        Family(
            "bins",
            "Bins of the codes (in IRS, of the factors)",
            "bins",
            (2, 5, 10, 20, 50, 200),
            PROTOCOL,
            _OWN,
            half_noise,
            start=None,
            log=True,
            bind=_setting("discretizer.num_bins", whole=True),
        ),
        Family(
            "images_a_point",
            "Images a vote, or pairs a point",
            "images",
            (4, 16, 64, 256),
            PROTOCOL,
            _OWN,
            half_noise,
            start=None,
            log=True,
            bind=_setting("factor_vae_score.batch_size", "beta_vae_sklearn.batch_size", whole=True),
        ),
        Family(
            "threshold",
            "The deviation under which FactorVAE ignores a latent",
            "threshold",
            (0.01, 0.05, 0.5, 0.9, 1.1, 2),
            PROTOCOL,
            _OWN,
            perfect,
            start=None,
            log=True,
            bind=_setting("prune_dims.threshold"),
        ),
        Family(
            "quantile",
            "The quantile of deviations that IRS takes for the largest",
            "quantile",
            (0.5, 0.75, 0.9, 0.99, 1.0),
            PROTOCOL,
            _OWN,
            half_noise,
            start=None,
            bind=_setting("irs.diff_quantile"),
        ),
    )
}
"""By name, in the page's order."""
