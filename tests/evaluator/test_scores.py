import importlib
import io
import json
from dataclasses import replace

import gin
import numpy as np
import pytest
from rich.console import Console

from evaluator import metrics, representations, scores
from evaluator.compat import load_metric_module
from evaluator.ground_truth import GroundTruth
from evaluator.intervals import t_interval
from evaluator.metrics import FURTHER_METRICS, METRICS, reference
from tests.evaluator.reading import read_representation

SIZES = ["mig.num_train = 100", "irs.num_train = 100"]


@pytest.fixture
def scored(ground_truth, write_torchscript, make_encoder):
    representation = read_representation(write_torchscript(make_encoder()), ground_truth)
    results = [
        reference.run(METRICS[name], ground_truth, representation, 3, "quick", SIZES)
        for name in ("mig", "irs")
    ]
    return results, ground_truth.dataset, representation


def origin(dataset, representation, **changed):
    given = {"seed": 3, "engine": "reference", "preset": "quick", "unproven": None} | changed
    return scores.origin(dataset, representation, **given)


def test_evaluation_json_has_the_keys_of_disentanglement_lib(tmp_path, scored):
    """Against the file that its own `results` module writes for the same metric."""
    results, dataset, representation = scored
    path = scores.write_evaluation(tmp_path, results[0], dataset, seed=3)
    assert path == tmp_path / "metrics" / "mig" / "results" / "aggregate" / "evaluation.json"
    ours = json.loads(path.read_text())

    load_metric_module("mig")
    module = importlib.import_module("disentanglement_lib.utils.results")
    gin.parse_config(
        (metrics.GIN_FOLDER / "mig.gin").read_text() + "mig.num_train = 100",
    )
    load_metric_module("mig").compute_mig(
        GroundTruth(dataset), representation.encode, random_state=np.random.RandomState(3)
    )
    values = {"discrete_mig": results[0].score, "elapsed_time": 1.0}
    module.update_result_directory(str(tmp_path / "theirs"), "evaluation", values)
    gin.clear_config()
    theirs = json.loads((tmp_path / "theirs" / "aggregate" / "evaluation.json").read_text())

    for key in ("uuid", "elapsed_time"):
        del ours[f"evaluation_results.{key}"], theirs[f"evaluation_results.{key}"]
    # What its `evaluate` would have bound besides; that one needs tensorflow_hub.
    pipeline = {
        "evaluation_config.dataset.name": "'spelled'",
        "evaluation_config.evaluation.evaluation_fn": "@mig",
        "evaluation_config.evaluation.name": "'mig'",
        "evaluation_config.evaluation.random_seed": "3",
    }
    assert ours == theirs | pipeline


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("dci", "disentanglement"),
        ("factor_vae_metric", "eval_accuracy"),
        ("sap_score", "SAP_score"),
        ("mig", "discrete_mig"),
        ("irs", "IRS"),
    ],
)
def test_the_score_stands_under_the_key_the_challenge_reads(name, key):
    assert METRICS[name].score == key


def test_scores_json_holds_scores_sum_and_provenance(tmp_path, scored):
    results, dataset, representation = scored
    path = scores.write_scores(tmp_path, results, origin(dataset, representation))
    written = json.loads(path.read_text())
    assert written["scores"] == {"mig": results[0].score, "irs": results[1].score}
    assert written["sum"] == pytest.approx(sum(written["scores"].values()))
    assert written["metrics"]["irs"].keys() == {"IRS", "num_active_dims"}
    provenance = written["provenance"]
    assert provenance["dataset"] == "spelled"
    assert provenance["dataset_fingerprint"] == dataset.fingerprint()
    assert provenance["factors_num_values"] == [2, 3, 4, 5]
    assert provenance["images"] == 120
    assert (provenance["seed"], provenance["engine"], provenance["preset"]) == (
        3,
        "reference",
        "quick",
    )
    assert provenance["representation_file"] == "pytorch_model.pt"
    assert provenance["representation_sha256"] == representations.sha256(representation.path)
    assert {"numpy", "scikit-learn", "disentanglement-lib"} <= provenance["versions"].keys()
    assert "mig.num_train = 100" in provenance["gin_config"]
    assert "solves the primal" in provenance["linear_svc"]
    assert provenance["seconds"].keys() == {"encoding", "mig", "irs"}


def test_the_table_shows_each_score_and_the_sum(scored):
    results, _, _ = scored
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(scores.table(results, "spelled, preset quick, seed 3"))
    text = console.export_text()
    for result in results:
        assert f"{result.score:.4f}" in text
    assert f"{sum(result.score for result in results):.4f}" in text


def test_a_rounding_error_below_zero_is_shown_as_zero(scored):
    results, _, _ = scored
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(scores.table([replace(results[0], score=-2.2e-16)], "spelled"))
    assert "-0.0000" not in console.export_text()


def test_scores_json_and_the_table_tell_the_interval_over_seeds(tmp_path, scored):
    results, dataset, representation = scored
    intervals = {
        "mig": t_interval([0.1, 0.2]),
        "irs": t_interval([0.5, 0.5]),
        "sum": t_interval([0.6, 0.7]),
    }
    path = scores.write_scores(
        tmp_path, results, origin(dataset, representation), intervals=intervals
    )
    written = json.loads(path.read_text())
    assert written["scores"]["mig"] == results[0].score
    assert written["repeats"]["seeds"] == [3, 4]
    assert written["repeats"]["confidence"] == 0.95
    assert written["repeats"]["mig"]["scores"] == [0.1, 0.2]
    assert written["repeats"]["sum"]["mean"] == pytest.approx(0.65)

    text = io.StringIO()
    Console(file=text, width=100).print(scores.table(results, "title", intervals))
    assert "2 seeds, 95%" in text.getvalue()
    assert "0.150 ± 0.635" in text.getvalue()


def test_further_metrics_are_no_part_of_the_sum(scored):
    results = scored[0]
    further = replace(results[0], metric=FURTHER_METRICS["modularity"], score=0.9)
    total = results[0].score + results[1].score
    assert scores.challenge_sum([*results, further]) == total
    assert scores.challenge_sum([further]) is None
    text = io.StringIO()
    Console(file=text, width=100).print(scores.table([further], "title"))
    assert "sum" not in text.getvalue()


# Scores that stand in the folder already


@pytest.fixture
def written(tmp_path, scored):
    """Writes one of the results, with whatever stands there beside it if it may."""
    results, dataset, representation = scored
    shared = origin(dataset, representation)

    def write(*names, bindings=SIZES, intervals=None, seeds=(3,), **changed):
        chosen = [one for one in results if one.metric.name in names]
        here = shared | changed
        beside = scores.earlier(tmp_path)
        fits = beside is not None and scores.may_stand_together(
            beside, here, [one.metric for one in chosen], bindings, seeds
        )
        path = scores.write_scores(
            tmp_path,
            chosen,
            here,
            bindings=bindings,
            intervals=intervals,
            beside=beside if fits else None,
        )
        return json.loads(path.read_text())

    return write


def without_time(content):
    del content["provenance"]["created"]
    return content


def test_metrics_scored_one_by_one_give_the_file_of_all_at_once(written):
    together = without_time(written("mig", "irs"))
    written("irs", threads=0)
    assert without_time(written("irs")).keys() == together.keys()
    assert without_time(written("mig")) == together
    assert without_time(written("irs")) == together


def test_bindings_that_concern_other_metrics_only_are_united(written):
    written("mig", bindings=["mig.num_train = 100"])
    both = written("irs", bindings=["irs.num_train = 100"])
    assert both["scores"].keys() == {"mig", "irs"}
    assert both["provenance"]["gin_bindings"] == ["mig.num_train = 100", "irs.num_train = 100"]


@pytest.mark.parametrize(
    "changed",
    [
        {"representation_sha256": "0"},
        {"dataset_fingerprint": "0"},
        {"seed": 4, "seeds": (4,)},
        {"seeds": (3, 4)},
        {"engine": "fast"},
        {"preset": "challenge"},
        {"versions": {}},
        {"bindings": ["mig.num_train = 200"]},
        {"bindings": []},
    ],
)
def test_scores_of_anything_else_do_not_stay(written, changed):
    written("mig", "irs")
    assert written("mig", **changed)["scores"].keys() == {"mig"}


def test_intervals_of_the_same_seeds_are_kept_and_their_sum_is_of_all(written):
    seeds = {"seeds": (3, 4)}
    written(
        "irs", intervals={"irs": t_interval([0.5, 0.7]), "sum": t_interval([0.5, 0.7])}, **seeds
    )
    both = written(
        "mig", intervals={"mig": t_interval([0.1, 0.2]), "sum": t_interval([0.1, 0.2])}, **seeds
    )
    assert both["repeats"]["irs"]["scores"] == [0.5, 0.7]
    assert both["repeats"]["sum"]["scores"] == pytest.approx([0.6, 0.9])


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"provenance": {}, "scores": {"mig": 1}}'])
def test_a_file_that_is_none_of_ours_does_not_stay(written, tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    assert written("mig")["scores"].keys() == {"mig"}
