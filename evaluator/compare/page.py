"""The comparison as one HTML page that needs no other file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evaluator.compare.differences import Difference, pairs, what_differs
from evaluator.compare.runs import Run
from evaluator.compare.tables import Comparison, cells, number
from evaluator.latents import latents_of
from evaluator.metrics import METRICS
from evaluator.report.inline_images import data_uri
from evaluator.report.template import environment as template_environment
from evaluator.report.traversals import (
    IMAGES_IN_A_ROW,
    SEED,
    TRAVERSAL_RANGE,
    model_missing,
    no_latents,
    opened,
    strip_png,
    traverse,
)
from submission.datasets import Dataset
from submission.errors import UserError
from submission.runs.files import write_text

_MOST_TRAVERSALS = 5
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class _Strips:
    """A run's pictures of one image: it and its reconstruction, and its latents in use moved."""

    run: str
    pair: bytes | None
    latents: list[tuple[int, float, bytes]]
    missing: str


def write_page(
    comparison: Comparison, dataset: Dataset | None, no_dataset: str, path: Path
) -> None:
    """Writes the page.

    Args:
        comparison: Its table.
        dataset: Where the image that is traversed is drawn from.
        no_dataset: Why there is no data set, if so.
        path: Where the page goes.

    Raises:
        UserError: It can't be written there.
    """
    runs = [row.run for row in comparison.rows]
    template = template_environment(_HERE)
    template.filters["data_uri"] = data_uri
    provenance = runs[0].scores.provenance
    write_text(
        path,
        template.get_template("compare.html.jinja").render(
            title=f"{len(runs)} runs on {provenance.get('dataset')}",
            comparison=comparison,
            rows=[(row, cells(row)) for row in comparison.rows],
            titles=[METRICS[name].title for name in comparison.metrics],
            protocol=comparison.protocol,
            unproven=[(run.name, run.unproven) for run in runs if run.unproven],
            all_metrics=len(comparison.metrics) == len(METRICS),
            participants=len({run.participant for run in runs}),
            has_intervals=any(len(run.seeds) > 1 for run in runs),
            pairs=[
                (one.name, other.name, [_told(each) for each in differences])
                for one, other, differences in pairs(runs, comparison.metrics)
            ],
            pair_titles=[*(METRICS[name].title for name in comparison.metrics), "Plain sum"],
            differs=what_differs(runs),
            runs=[run.name for run in runs],
            strips=[_strips(run, dataset) for run in runs] if dataset else [],
            no_dataset=no_dataset,
            reach=f"{TRAVERSAL_RANGE:g}",
            columns=IMAGES_IN_A_ROW,
        ),
    )


def _told(difference: Difference) -> tuple[str, bool | None]:
    sign = "+" if difference.mean > 0 else ""
    text = f"{sign}{number(difference.mean)}".replace("-", "\N{MINUS SIGN}")
    if difference.is_beyond_noise is not None:
        text += f" ± {difference.half_width:.3f}"
    return text, difference.is_beyond_noise


def _strips(run: Run, dataset: Dataset) -> _Strips:
    """Draws what encoder and decoder make of the first image that a run's report shows too."""
    lacking = model_missing(run.folder)
    if lacking:
        return _Strips(run.name, None, [], lacking)
    random_state = np.random.RandomState(SEED)
    chosen = random_state.randint(len(dataset.images), size=2 * IMAGES_IN_A_ROW)
    originals = dataset.observe(chosen, random_state)
    latents = latents_of(run.record)
    values = np.linspace(-TRAVERSAL_RANGE, TRAVERSAL_RANGE, IMAGES_IN_A_ROW)
    try:
        # Runs of several origins: a process for each.
        with opened([run.folder], dataset.observation_shape) as (model,):
            codes = model.encode(originals[:1])
            pair = strip_png(np.concatenate((originals[:1], model.decode(codes))))
            rows, reason = [], no_latents(latents, codes.shape[1])
            if latents is not None and not reason:
                rows = [
                    (one, latents.variance[one], strip_png(traverse(model, codes[0], one, values)))
                    for one in latents.in_use[:_MOST_TRAVERSALS]
                ]
    except UserError as error:
        # Anybody's module may stand there.
        return _Strips(run.name, None, [], f"encoder and decoder fail ({error})")
    return _Strips(run.name, pair, rows, reason)
