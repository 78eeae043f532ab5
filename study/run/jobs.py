"""The runs that a study consists of, and the hash that tells one run's settings from another's."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import gin

from evaluator import metrics
from study.settings import Study
from submission import datasets
from submission.configuration import configure, methods, operative, read_by, references
from submission.errors import UserError
from submission.training.checkpoint import identity
from submission.training.recipe import Pretraining, Recipe
from submission.training.setup import pretraining_settings

_HASH_DIGITS = 8
_PRETRAINING = "pretraining"
# The conventional VAE, which pre-training trains whatever the method.
_PRETRAINING_METHOD = "vae"
# It ends where the methods begin.
_PRETRAINING_ONLY = ("trainer.max_steps = 0", "trainer.snapshot_every = None")


@dataclass(frozen=True)
class Job:
    """One run: what is trained, and how it is scored.

    Attributes:
        name: Its folder's: method, variant, seed and a hash of all that decides its numbers.
        method: The method.
        variant: The name of its further settings; empty where there is only one.
        seed: The seed.
        pretraining: Whether it only makes the weights that others start from.
        after: The name of the run whose weights it starts from; None trains its own.
        dataset: The data set.
        preset: The trainer's preset.
        bindings: The trainer's settings that its method reads.
        snapshot_every: Training steps between two snapshots; None where none are kept.
        metrics: What it is scored with.
        evaluation: The metrics' settings.
        threads: Its threads; 0 is all cores.
        attempts: How often it may be begun or gone on with.
    """

    name: str
    method: str
    variant: str
    seed: int
    pretraining: bool
    after: str | None
    dataset: str
    preset: str
    bindings: tuple[str, ...]
    snapshot_every: int | None
    metrics: tuple[str, ...]
    evaluation: tuple[str, ...]
    threads: int
    attempts: int


def plan(study: Study) -> list[Job]:
    """Lists a study's runs in the order in which they should begin.

    A variant that changes nothing for a method would be a run that is listed already, and is left
    out.

    Args:
        study: The study.

    Returns:
        Seed by seed; a pre-training stands before the runs that start from it.

    Raises:
        UserError: A setting of the trainer that can't be right, or the data set is missing.
    """
    dataset = datasets.load(study.dataset)
    if study.metrics and dataset.no_scores:
        raise UserError(f"study.metrics: {dataset.no_scores}")
    fingerprint = dataset.fingerprint()
    jobs: dict[str, Job] = {}
    for seed in study.seeds:
        for variant, settings in study.variants.items():
            bindings = (*study.settings, *settings, f"trainer.seed = {seed}")
            pretraining = _pretraining(study, fingerprint, seed, bindings)
            for method in study.methods:
                own = read_by(method, study.preset, bindings)
                configure(method, study.preset, own)
                digits = _hash(study, fingerprint, _operative() | _scoring(study))
                if digits in jobs:
                    continue
                job = Job(
                    name="-".join(filter(None, (method, variant, f"seed{seed}", digits))),
                    method=method,
                    variant=variant,
                    seed=seed,
                    pretraining=False,
                    after=None,
                    dataset=study.dataset,
                    preset=study.preset,
                    bindings=own,
                    snapshot_every=Recipe().snapshot_every,
                    metrics=tuple(study.metrics),
                    evaluation=tuple(study.evaluation),
                    threads=study.threads,
                    attempts=study.attempts,
                )
                if pretraining and _pretraining_name(study, fingerprint, seed) == pretraining.name:
                    jobs.setdefault(pretraining.name, pretraining)
                    job = replace(job, after=pretraining.name)
                jobs[digits] = job
    gin.clear_config()
    return list(jobs.values())


def _pretraining(
    study: Study, fingerprint: str, seed: int, bindings: tuple[str, ...]
) -> Job | None:
    """The run that makes the weights which the methods of a seed start from, if any do."""
    own = read_by(_PRETRAINING_METHOD, study.preset, bindings)
    configure(_PRETRAINING_METHOD, study.preset, own)
    if Pretraining().steps == 0:
        return None
    return Job(
        name=_pretraining_name(study, fingerprint, seed),
        method=_PRETRAINING_METHOD,
        variant="",
        seed=seed,
        pretraining=True,
        after=None,
        dataset=study.dataset,
        preset=study.preset,
        bindings=(*own, *_PRETRAINING_ONLY),
        snapshot_every=None,
        metrics=(),
        evaluation=(),
        threads=study.threads,
        attempts=study.attempts,
    )


def _pretraining_name(study: Study, fingerprint: str, seed: int) -> str:
    """The name of the run whose weights the configured method would start from."""
    return f"{_PRETRAINING}-seed{seed}-{_hash(study, fingerprint, pretraining_settings())}"


def _operative() -> dict[str, str]:
    """The settings that the configured run reads: not those of other methods' losses."""
    bound = operative(selector.split(".")[-1] for (_, selector) in gin.config._CONFIG)
    unused = set(methods()) - references(bound.values())
    return {name: value for name, value in bound.items() if name.split(".")[0] not in unused}


def _scoring(study: Study) -> dict[str, Any]:
    """The sample sizes and other settings of each metric."""
    return {
        f"scores.{metric.name}": metrics.settings(metric, "challenge", study.evaluation)
        for metric in metrics.choose(study.metrics)
    }


def _hash(study: Study, fingerprint: str, settings: Mapping[str, Any]) -> str:
    return identity(
        dataset=study.dataset, fingerprint=fingerprint, threads=study.threads, settings=settings
    )[:_HASH_DIGITS]
