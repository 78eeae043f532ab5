"""The challenge's metrics and further ones, a file each; `registry` lists them.

To add one, write its file and name it in `registry`, and its sample sizes in `gin/evaluation/`.
"""

from evaluator.metrics.metric import Metric, Result
from evaluator.metrics.presets import GIN_FOLDER, PRESETS, check_bindings, settings
from evaluator.metrics.registry import ALL_METRICS, FURTHER_METRICS, METRICS, choose

__all__ = [
    "ALL_METRICS",
    "FURTHER_METRICS",
    "GIN_FOLDER",
    "METRICS",
    "PRESETS",
    "Metric",
    "Result",
    "check_bindings",
    "choose",
    "settings",
]
