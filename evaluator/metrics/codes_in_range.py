"""Codes that disentanglement_lib has no number for, made into codes that it has.

A warning says so wherever that changes what is computed:

* With one latent there is no second best: a constant latent is put beside it.
* Squares that overflow (codes of 1e30 in float32) are taken of codes divided by a power of two,
  which cancels out of every score.
"""

import warnings

import numpy as np


def two_latents(*samples: np.ndarray) -> tuple[np.ndarray, ...]:
    """Codes [n, latents], with a constant latent added where there is one only."""
    if samples[0].shape[1] > 1:
        return samples
    warnings.warn(
        "one latent has no second best, so disentanglement_lib fails: scored with a constant one "
        "beside it",
        stacklevel=3,
    )
    return tuple(np.concatenate([one, np.zeros_like(one)], axis=1) for one in samples)


def exponents_of(codes: np.ndarray) -> np.ndarray:
    """For each latent the power of two that brings its codes into [-1, 1], int [latents]."""
    return np.frexp(np.abs(codes.astype(np.float64)).max(axis=0))[1]


def divided(codes: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Codes [..., latents] in float64, each latent divided by its power of two."""
    return np.ldexp(codes.astype(np.float64), -exponents)
