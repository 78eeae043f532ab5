import json
import math

import pytest

from study.report.results import final_scores, latents, read, scores_by_step
from submission.errors import UserError

SCORES = {"mig": 0.25, "irs": 0.5}
RUN = {"name": "vae-seed0", "method": "vae", "variant": "", "seed": 0}
PLAN = {"study": {"dataset": "d", "methods": [], "metrics": []}}


def test_runs_stand_in_the_papers_order_and_others_after_them(drawn):
    folder = drawn.write(methods=("vae", "mine", "info_vae", "beta_tcvae"), seeds=(1, 0))
    order = [(run.label, run.seed) for run in read(folder).runs]
    titles = ("β-TCVAE", "Info-VAE", "VAE", "mine")
    assert order == [(title, seed) for title in titles for seed in (1, 0)]


def test_the_variants_stand_in_the_plans_order(drawn):
    folder = drawn.write(methods=("vae",), seeds=(0,), variants=("text", "code"))
    assert read(folder).variants == ("text", "code")


def test_each_variant_is_a_method_of_its_own(drawn):
    folder = drawn.write(methods=("beta_vae", "vae"), seeds=(0,), variants=("", "narrow"))
    assert read(folder).labels == ["β-VAE", "β-VAE (narrow)", "VAE", "VAE (narrow)"]


def test_the_frame_has_a_row_for_each_run_with_its_scores_and_latents(drawn):
    drawn.write_run(
        "beta_vae",
        7,
        SCORES,
        kl_per_latent=[1.5, 0.68, 0.69, 3.0],
        posterior_mean_variance_per_latent=[0.009, 0.5, 0.5, 0.9],
    )
    drawn.write_plan(["beta_vae"], [7])
    (row,) = final_scores(read(drawn.folder)).to_dict("records")
    name = "beta_vae-seed7-0123abcd"
    assert row == {
        **{"run": name, "method": "beta_vae", "variant": "", "label": "β-VAE", "seed": 7},
        **{"steps": 1000, "mig": 0.25, "irs": 0.5},
        # Of the others, one spends its nats without informing, one hasn't any to inform.
        "latents_in_use": 2,
        "kl": pytest.approx(5.87),
    }


def test_each_latent_of_a_run_is_a_row_unless_they_are_unknown(drawn):
    drawn.write_run("beta_vae", 0, SCORES)
    drawn.write_run("vae", 0, SCORES, kl_per_latent=None)
    drawn.write_plan(["beta_vae", "vae"])
    frame = latents(read(drawn.folder))
    assert frame["label"].tolist() == ["β-VAE"] * 4
    assert frame["variance"].tolist() == [0.5, 0.001, 0.002, 0.9]
    assert frame["in_use"].tolist() == [True, False, False, True]


def finished(**changes: object) -> str:
    """A record that tells it is finished, and the rest as given."""
    whole = {"status": "finished", "steps": 9, "dataset": "d", "dataset_fingerprint": "f"}
    return json.dumps(whole | changes)


def test_scores_by_step_ascend_and_end_with_the_final_ones(drawn):
    drawn.write_run("beta_vae", 0, SCORES, snapshots=(500, 0, 250))
    drawn.write_plan(["beta_vae"])
    frame = scores_by_step(read(drawn.folder))
    assert frame["step"].tolist() == [0, 250, 500, 1000]
    assert frame["irs"].tolist() == pytest.approx([0.25, 0.3125, 0.375, 0.5])


def test_a_snapshot_at_the_last_step_gives_way_to_the_final_scores(drawn):
    folder = drawn.write_run("beta_vae", 0, SCORES)
    drawn.write_scores(folder / "training/snapshots/1000", {"mig": 0.9, "irs": 0.9})
    drawn.write_plan(["beta_vae"])
    assert scores_by_step(read(drawn.folder))["mig"].tolist() == [0.125, 0.1875, 0.25]


def test_a_snapshot_without_scores_is_passed_over(drawn):
    folder = drawn.write_run("beta_vae", 0, SCORES)
    (folder / "training/snapshots/0/scores.json").unlink()
    (folder / "training/snapshots/500/scores.json").write_text("{")
    drawn.write_plan(["beta_vae"])
    assert scores_by_step(read(drawn.folder))["step"].tolist() == [1000]


NO_STEPS = "training/run.json tells no number of steps"


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("training/run.json", None, "not started"),
        ("training/run.json", "{", "run.json is unreadable"),
        ("training/run.json", '{"status": "finished"}', NO_STEPS),
        ("training/run.json", '{"status": "finished", "steps": "x"}', NO_STEPS),
        ("training/run.json", "[" * 100_000, "run.json is unreadable"),
        ("training/run.json", '{"status": "interrupted"}', "training is interrupted"),
        ("training/run.json", '{"status": "running", "steps": 3}', "training is running"),
        ("training/run.json", '{"status": "failed"}', "training failed"),
        ("training/run.json", finished(steps=True), "training/run.json tells no number of steps"),
        ("training/run.json", finished(steps=-1), "training/run.json tells no number of steps"),
        (
            "training/run.json",
            finished(steps=10**400),
            "training/run.json tells no number of steps",
        ),
        ("training/run.json", finished(dataset=["a"]), "training/run.json tells no dataset"),
        (
            "training/run.json",
            finished(dataset_fingerprint={}),
            "training/run.json tells no dataset_fingerprint",
        ),
        ("scores.json", None, "not scored"),
        ("scores.json", "[]", "scores.json is unreadable"),
        ("scores.json", '{"scores": {}}', "scores.json holds no scores"),
    ],
)
def test_a_run_that_is_not_done_is_left_out_and_told(drawn, file, content, reason):
    drawn.write(methods=("beta_vae", "vae"), seeds=(0,))
    path = drawn.run("vae") / file
    path.unlink() if content is None else path.write_text(content)
    results = read(drawn.folder)
    assert [run.label for run in results.runs] == ["β-VAE"]
    (missing,) = results.missing
    assert (missing.label, missing.seed, missing.reason) == ("VAE", 0, reason)


def test_pre_training_and_runs_outside_of_the_plan_are_no_results(drawn):
    drawn.write(methods=("beta_vae",), seeds=(0,))
    drawn.write_run("info_vae", 0, SCORES)
    plan = json.loads((drawn.folder / "study.json").read_text())
    plan["runs"].append(plan["runs"][0] | {"name": "vae-seed0-ffff", "pretraining": True})
    drawn.write_json(drawn.folder / "study.json", plan)
    results = read(drawn.folder)
    assert [run.method for run in results.runs] == ["beta_vae"]
    assert not results.missing


@pytest.mark.parametrize(
    "score", ["NaN", "null", '"text"', "Infinity", "1e308", "-1e308", "1" + 400 * "0"]
)
def test_a_score_that_is_no_number_is_nan(drawn, score):
    folder = drawn.write_run("beta_vae", 0, SCORES)
    (folder / "scores.json").write_text(f'{{"scores": {{"mig": {score}, "irs": 0.5}}}}')
    drawn.write_plan(["beta_vae"])
    (run,) = read(drawn.folder).runs
    assert math.isnan(run.scores["mig"])
    assert run.scores["irs"] == 0.5


@pytest.mark.parametrize("values", [[], None, "text", [1.0, None], [1.0, math.nan], [1.0]])
@pytest.mark.parametrize("field", ["kl_per_latent", "posterior_mean_variance_per_latent"])
def test_latents_in_use_are_unknown_without_a_whole_record(drawn, field, values):
    drawn.write_run("beta_vae", 0, SCORES, **{field: values})
    drawn.write_plan(["beta_vae"])
    results = read(drawn.folder)
    assert results.runs[0].latents_in_use is None
    assert final_scores(results)["latents_in_use"].isna().all()


def test_metrics_stand_in_the_order_of_table_1_and_further_ones_after_them(drawn):
    drawn.write(methods=("vae",), seeds=(0,), metrics=("modularity", "irs", "dci"))
    assert read(drawn.folder).metrics == ["dci", "irs", "modularity"]


def test_a_study_without_a_finished_run_has_empty_frames(drawn):
    drawn.write_plan(["beta_vae"])
    results = read(drawn.folder)
    assert final_scores(results).empty
    assert scores_by_step(results).empty


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no"),
        ("{", "is unreadable"),
        ("[]", "is no plan of a study"),
        ('{"study": {}, "runs": []}', "is no plan of a study"),
        (
            '{"study": {"dataset": "d", "methods": [], "metrics": []}, "runs": [{"name": 1}]}',
            "is no plan of a study",
        ),
        *(
            (json.dumps(PLAN | {"runs": [RUN | {key: value}]}), "is no plan of a study")
            for key, value in (("name", "../elsewhere"), ("method", "/a"), ("variant", ".."))
        ),
    ],
)
def test_a_folder_without_a_plan_is_refused_in_one_line(tmp_path, content, words):
    if content is not None:
        (tmp_path / "study.json").write_text(content)
    with pytest.raises(UserError, match=r"study\.json") as caught:
        read(tmp_path)
    assert words in str(caught.value)
    assert "python -m study run" in str(caught.value)
    assert "\n" not in str(caught.value)
