"""Runs that were scored, as files tell them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evaluator.intervals import t_interval
from evaluator.metrics import METRICS


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """Writes a run's `scores.json`, of one list of scores a metric, a score a seed."""

    def write(
        name: str,
        *scores: list[float],
        record: dict[str, Any] | None = None,
        **provenance: Any,
    ) -> Path:
        folder = tmp_path / name
        (folder / "training").mkdir(parents=True)
        by_metric = dict(zip(METRICS, scores, strict=False))
        seeds = list(range(len(scores[0])))
        repeats: dict[str, Any] = {}
        if len(seeds) > 1:
            repeats = {"seeds": seeds}
            sums = [sum(one) for one in zip(*scores, strict=True)]
            for metric, listed in {**by_metric, "sum": sums}.items():
                interval = t_interval(listed)
                repeats[metric] = {
                    "mean": interval.mean,
                    "half_width": interval.half_width,
                    "scores": listed,
                }
        content = {
            "scores": {metric: listed[0] for metric, listed in by_metric.items()},
            "sum": sum(listed[0] for listed in by_metric.values()),
            "repeats": repeats,
            "provenance": {
                "dataset": "squares",
                "dataset_fingerprint": "0123456789",
                "engine": "fast",
                "preset": "challenge",
                "seed": 0,
                "gin_config": "# mig\n\nmig.num_train = 10000",
                **provenance,
            },
        }
        (folder / "scores.json").write_text(json.dumps(content))
        if record is not None:
            (folder / "training" / "run.json").write_text(json.dumps(record))
        return folder

    return write
