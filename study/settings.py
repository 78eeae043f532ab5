"""What a study is: read from `gin/study/`, and checked before anything slow is imported."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import gin

from evaluator import metrics
from submission import configuration, datasets, installation
from submission.errors import UserError, nearest
from submission.values import LAST_SEED, Example, Interval, Seed

GIN_FOLDER = installation.GIN_FOLDER / "study"
_CONFIGURABLE = "study"
_VARIANT = re.compile(r"[A-Za-z0-9_.]*")


@gin.configurable(_CONFIGURABLE)
@dataclass(frozen=True)
class Study:
    """The runs of a study: methods x variants x seeds, trained and scored alike.

    Attributes:
        methods: The methods that are compared.
        seeds: The seeds of each method. The methods of one seed start from the same pre-trained
            weights; another seed has others.
        dataset: The data set's name, or the path of one's own.
        preset: The trainer's preset, one of `gin/presets/`.
        settings: Settings of the trainer for all runs, such as `network.latents = 10`.
        variants: Further settings by the name of a variant; each method is run with each. The one
            variant that there is by default has no name and no settings.
        metrics: What each run, and each of its snapshots, is scored with.
        evaluation: Settings of the metrics, such as `dci.num_train = 1000`.
        threads: Threads of a run. Their number decides the last bits of a sum, so it is a setting
            and not what the machine happens to have; 0 takes all cores.
        attempts: How often a run is begun, or gone on with, before it counts as failed: when its
            process dies or the machine that it is on is lost.
    """

    methods: Annotated[tuple[str, ...], Example("names such as ('vae',)", may_be_empty=False)] = (
        gin.REQUIRED
    )
    seeds: Annotated[
        tuple[Seed, ...],
        Example(f"whole numbers such as (0, 1, 2), at most {LAST_SEED}", may_be_empty=False),
    ] = (0,)
    dataset: str = "mpi3d_mini"
    preset: str = "quick"
    settings: Annotated[tuple[str, ...], Example("texts such as ('network.latents = 10',)")] = ()
    variants: Annotated[
        Mapping[str, tuple[str, ...]],
        Example(
            "a name and settings each: {'': (), 'narrow': ('network.latents = 10',)}",
            may_be_empty=False,
        ),
    ] = field(default_factory=lambda: {"": ()})
    metrics: Annotated[tuple[str, ...], Example("names such as ('mig',)", may_be_empty=False)] = (
        tuple(metrics.METRICS)
    )
    evaluation: Annotated[tuple[str, ...], Example("texts such as ('mig.num_train = 1000',)")] = ()
    threads: Annotated[int, Interval(ge=0, le=1024)] = 1
    attempts: Annotated[int, Interval(ge=1, le=1000)] = 3


def presets() -> list[str]:
    """The studies that `gin/study/` holds: one file each."""
    return sorted(path.stem for path in GIN_FOLDER.glob("*.gin"))


def read(preset: str, bindings: Sequence[str]) -> Study:
    """Reads a study's file, and the command line's settings over it.

    Args:
        preset: One of `presets()`.
        bindings: Settings of the study (`study.seeds = (0, 1)`), which replace those of the file,
            and of its runs: those that a metric reads are added to `Study.evaluation`, all others
            to `Study.settings`.

    Returns:
        The study. Its settings of the trainer are not checked yet.

    Raises:
        UserError: A name or a value that can't be right.
    """
    if preset not in presets():
        raise UserError(f"unknown study {preset!r}: {nearest(preset, presets())}")
    own, evaluation, settings = _sort_out(bindings)
    gin.clear_config()
    configuration.apply((GIN_FOLDER / f"{preset}.gin").read_text(), f"gin/study/{preset}.gin")
    for binding in own:
        configuration.apply(binding, f"--gin {binding!r}")
    study = Study()
    gin.clear_config()
    _check_plan(study)
    study = replace(
        study,
        settings=(*study.settings, *settings),
        evaluation=(*study.evaluation, *evaluation),
    )
    _check_names(study)
    return replace(study, dataset=datasets.checked_name(study.dataset))


def _sort_out(bindings: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """The bindings of the study itself, of the metrics, and of the trainer."""
    read_by_metrics = {name for one in metrics.ALL_METRICS.values() for name in one.settings}
    own: list[str] = []
    evaluation: list[str] = []
    trainer: list[str] = []
    for binding in bindings:
        name = binding.partition("=")[0].strip()
        if name.startswith(f"{_CONFIGURABLE}."):
            own.append(binding)
        elif name in read_by_metrics:
            evaluation.append(binding)
        else:
            trainer.append(binding)
    return own, evaluation, trainer


def _check_plan(study: Study) -> None:
    """Refuses names of variants that no folder can have, and what is given twice."""
    for name in study.variants:
        if not _VARIANT.fullmatch(name):
            raise UserError(
                f"study.variants has the name {name!r}, which is a part of folders' names: "
                "give letters, digits, _ and dots"
            )
    for name in ("methods", "seeds", "metrics"):
        values = getattr(study, name)
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise UserError(f"study.{name} has {twice[0]!r} twice: give each once")


def _check_names(study: Study) -> None:
    for method in study.methods:
        configuration.check_names(method, study.preset)
    for binding in (*study.settings, *(one for many in study.variants.values() for one in many)):
        name = binding.partition("=")[0].strip()
        if name.startswith(f"{_CONFIGURABLE}."):
            raise UserError(f"{binding!r}: a study's settings are no settings of its runs")
        if name == "trainer.seed":
            raise UserError(f"{binding!r}: a study's runs take their seeds from study.seeds")
    metrics.check_bindings(study.evaluation, metrics.choose(study.metrics))
