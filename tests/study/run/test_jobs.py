"""Which runs a study has, what they are called, and what tells them apart."""

from dataclasses import replace

import numpy as np
import pytest

from study import settings
from study.run.jobs import Job, plan
from study.settings import Study
from submission import datasets
from submission.errors import UserError

SMALL = Study(
    methods=("beta_vae", "factor_vae"),
    seeds=(0, 1),
    preset="challenge",
    settings=("trainer.max_steps = 30", "pretraining.steps = 10"),
    metrics=("mig", "irs"),
    evaluation=("mig.num_train = 200",),
)


def methods_runs(jobs: list[Job]) -> list[Job]:
    return [job for job in jobs if not job.pretraining]


def names(study: Study) -> list[str]:
    return [job.name for job in methods_runs(plan(study))]


def hashes(study: Study) -> list[str]:
    return [name.rpartition("-")[2] for name in names(study)]


def test_the_quick_study_has_18_runs_and_a_pre_training_a_seed():
    jobs = plan(settings.read("quick", []))
    assert len(methods_runs(jobs)) == 18
    assert [job.seed for job in jobs if job.pretraining] == [0, 1, 2]


def test_a_name_is_method_variant_seed_and_a_hash():
    variants = {"": (), "narrow": ("network.latents = 10",)}
    jobs = plan(replace(SMALL, seeds=(7,), variants=variants))
    stems = [job.name.rpartition("-")[0] for job in methods_runs(jobs)]
    assert stems == [
        "beta_vae-seed7",
        "factor_vae-seed7",
        "beta_vae-narrow-seed7",
        "factor_vae-narrow-seed7",
    ]
    assert all(len(job.name.rpartition("-")[2]) == 8 for job in jobs)
    assert len({job.name for job in jobs}) == len(jobs)


def test_the_same_study_has_the_same_names():
    assert names(SMALL) == names(SMALL)


def test_what_it_reads_is_what_a_run_is_told_apart_by():
    for other in (
        replace(SMALL, settings=(*SMALL.settings, "network.latents = 10")),
        replace(SMALL, settings=(*SMALL.settings, "capacity.final = 20.0")),
        replace(SMALL, settings=(*SMALL.settings, "trainer.budget = '1h'")),
        replace(SMALL, preset="paper"),
        replace(SMALL, threads=2),
        replace(SMALL, metrics=("mig",)),
        replace(SMALL, evaluation=("mig.num_train = 300",)),
    ):
        assert not set(hashes(SMALL)) & set(hashes(other)), other


def test_the_images_are_part_of_what_a_run_is_told_apart_by(monkeypatch):
    before = hashes(SMALL)
    dataset = datasets.load(SMALL.dataset)
    changed = replace(dataset, known_fingerprint="of other images")
    monkeypatch.setattr(datasets, "load", lambda name: changed)
    assert not set(before) & set(hashes(SMALL))


def test_what_it_does_not_read_changes_nothing():
    for other in (
        replace(SMALL, settings=(*SMALL.settings, "dip_vae_i.lambda_d = 3.0")),
        replace(SMALL, settings=(SMALL.settings[1], SMALL.settings[0])),
        replace(SMALL, metrics=("irs", "mig")),
        replace(SMALL, evaluation=(*SMALL.evaluation, "irs.num_train = 10000")),
        replace(SMALL, attempts=9),
    ):
        assert names(other) == names(SMALL), other


def test_another_seed_or_method_leaves_the_names_of_the_others():
    wider = replace(SMALL, seeds=(2, 1, 0), methods=("info_vae", *SMALL.methods))
    assert set(names(SMALL)) < set(names(wider))


def test_a_variant_that_changes_nothing_for_a_method_is_no_run_of_its_own():
    variants = {"": (), "strong": ("beta_vae.beta = 8.0",)}
    stems = [
        name.rpartition("-")[0] for name in names(replace(SMALL, seeds=(0,), variants=variants))
    ]
    assert stems == ["beta_vae-seed0", "factor_vae-seed0", "beta_vae-strong-seed0"]


def test_the_methods_of_a_seed_share_a_pre_training_that_stands_before_them():
    jobs = plan(SMALL)
    assert [job.pretraining for job in jobs] == [True, False, False] * 2
    assert [job.seed for job in jobs] == [0, 0, 0, 1, 1, 1]
    for first in (0, 3):
        assert [job.after for job in jobs[first : first + 3]] == [None, *2 * [jobs[first].name]]


def test_a_variant_of_the_method_shares_the_pre_training_and_one_of_the_network_does_not():
    variants = {"": (), "strong": ("beta_vae.beta = 8.0",), "narrow": ("network.latents = 10",)}
    study = replace(SMALL, methods=("beta_vae",), seeds=(0,), variants=variants)
    plain, strong, narrow = methods_runs(plan(study))
    assert strong.after == plain.after
    assert narrow.after not in (None, plain.after)


def test_without_pre_training_there_is_no_run_for_it():
    jobs = plan(replace(SMALL, settings=(*SMALL.settings, "pretraining.steps = 0")))
    assert len(jobs) == 4
    assert {job.after for job in jobs} == {None}


def test_a_run_has_its_seed_and_its_variants_settings_last():
    study = replace(SMALL, seeds=(3,), variants={"narrow": ("network.latents = 10",)})
    bindings = methods_runs(plan(study))[0].bindings
    assert bindings == (*SMALL.settings, "network.latents = 10", "trainer.seed = 3")


def test_nothing_that_the_clock_decides_is_left_in_the_quick_study():
    """Widths, steps and schedules are given as numbers; the budget is hours for minutes."""
    job = methods_runs(plan(settings.read("quick", [])))[0]
    values = dict(binding.split(" = ", 1) for binding in job.bindings)
    assert values["width.candidates"] == "()"
    assert values["capacity.share"] == "None"
    assert values["pretraining.share"] == "1.0"
    assert values["trainer.budget"] == "'24h'"
    assert values["speed.measure"] == "False"
    assert job.threads == 1


def test_a_misspelt_setting_of_the_trainer_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"did you mean network\.latents"):
        plan(replace(SMALL, settings=("network.latens = 10",)))


def test_a_study_of_images_without_factors_is_refused(tmp_path):
    np.savez(tmp_path / "plain.npz", images=np.zeros((2, 64, 64), np.uint8))
    study = settings.read("quick", [f"study.dataset = '{tmp_path}/plain.npz'"])
    with pytest.raises(UserError, match=r"study\.metrics: plain tells no factors"):
        plan(study)
