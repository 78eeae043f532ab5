"""disentanglement_lib 1.5 (2020) on today's Python packages.

What it needs, and why:

* ``gin.tf`` of gin-config 0.4.0 derives a class from ``tf.estimator.SessionRunHook``, and
  TensorFlow dropped ``tf.estimator`` in 2.16. No metric uses that class, so an empty base stands in
  for it.
* gin-config 0.5.0 dropped the argument ``blacklist`` that every metric passes; 0.4.0 warns about it
  once a metric, through the root logger, to which that very call adds a handler.
* ``gin.tf`` compares versions with ``distutils``, which warns (and from Python 3.12 on comes with
  setuptools, a requirement of TensorFlow).
* TensorFlow only reads hub modules here: it gets no GPU, so that it doesn't take the memory of the
  one that PyTorch encodes on, and no oneDNN kernels, whose sums differ from one processor to the
  next (and whose notice on stderr no log level silences).

* Explicitness divides by each latent's standard deviation, which for a constant latent gives the
  NaN that scikit-learn refuses. Such a latent, which tells nothing of any factor, is left at zero.

The metrics need neither ``tensorflow_hub`` nor ``pkg_resources``.
"""

import contextlib
import functools
import importlib
import logging
import os
import types
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np


@functools.cache
def load_tensorflow() -> Any:
    """Imports TensorFlow: quiet, on the CPU, and with what disentanglement_lib misses in it.

    Returns:
        The module `tensorflow`.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow

    tensorflow.get_logger().setLevel(logging.ERROR)
    tensorflow.config.set_visible_devices([], "GPU")
    if not hasattr(tensorflow, "estimator"):
        tensorflow.estimator = types.SimpleNamespace(SessionRunHook=object)
    return tensorflow


def load_metric_module(name: str) -> Any:
    """Imports one of disentanglement_lib's metrics.

    Args:
        name: The module's name in `disentanglement_lib.evaluation.metrics`, such as ``mig``.

    Returns:
        The module; its metric is registered with gin.
    """
    load_tensorflow()
    with _no_deprecations():
        module = importlib.import_module(f"disentanglement_lib.evaluation.metrics.{name}")
    if name == "modularity_explicitness":
        module.utils.normalize_data = _standardise
    return module


def _standardise(
    data: np.ndarray, mean: np.ndarray | None = None, deviation: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """disentanglement_lib's `normalize_data`, but for latents of no deviation.

    Args:
        data: [latents, n].
        mean: [latents], by default of the data.
        deviation: [latents], by default of the data.

    Returns:
        The data in units of the deviation from the mean, the mean, the deviation.
    """
    if mean is None:
        mean = np.mean(data, axis=1)
    if deviation is None:
        deviation = np.std(data, axis=1)
    scale = np.where(deviation == 0, 1, deviation)
    return (data - mean[:, np.newaxis]) / scale[:, np.newaxis], mean, deviation


@contextlib.contextmanager
def _no_deprecations() -> Iterator[None]:
    handlers = list(logging.root.handlers)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            yield
    finally:
        logging.disable(disabled)
        logging.root.handlers[:] = handlers
