"""What a study's gin file and the command line's settings make of each other."""

import subprocess
import sys
from pathlib import Path

import pytest

from study import settings
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
SIX = ("beta_vae", "beta_tcvae", "factor_vae", "dip_vae_i", "dip_vae_ii", "info_vae")


@pytest.mark.parametrize("preset", settings.presets())
def test_a_preset_has_the_papers_six_methods_and_at_least_three_seeds(preset):
    study = settings.read(preset, [])
    assert study.methods == SIX
    assert len(study.seeds) >= 3
    assert study.metrics == ("dci", "factor_vae_metric", "sap_score", "mig", "irs")


def test_the_presets_are_a_quick_one_the_authors_the_portals_and_the_papers():
    assert settings.presets() == ["authors", "challenge", "paper", "quick"]
    assert settings.read("quick", []).dataset == "mpi3d_mini"
    assert settings.read("challenge", []).preset == "challenge"
    assert settings.read("paper", []).preset == "paper"


def test_a_setting_of_the_study_replaces_the_files():
    study = settings.read("quick", ["study.seeds = (5, 6)", "study.methods = ['vae']"])
    assert list(study.seeds) == [5, 6]
    assert list(study.methods) == ["vae"]


def test_a_setting_of_a_metric_or_of_the_trainer_is_added_to_the_files():
    study = settings.read("quick", ["dci.num_train = 100", "network.latents = 10"])
    assert study.evaluation == ("dci.num_train = 100",)
    assert study.settings == (*settings.read("quick", []).settings, "network.latents = 10")


def test_the_path_of_ones_own_data_is_that_of_each_run(tmp_path, monkeypatch):
    (tmp_path / "mine.npz").touch()
    monkeypatch.chdir(tmp_path)
    study = settings.read("quick", ["study.dataset = 'mine.npz'"])
    assert study.dataset == str(tmp_path / "mine.npz")


@pytest.mark.parametrize(
    ("binding", "words"),
    [
        ("study.sedes = (1, 2)", ["study.sedes", "did you mean study.seeds?"]),
        ("study.seeds = (1,", ["study.seeds"]),
        ("study.seeds = 3", ["study.seeds is 3", "(0, 1, 2)"]),
        ("study.seeds = (0, 1.5)", ["study.seeds", "whole numbers"]),
        ("study.seeds = (1, 0, 1)", ["study.seeds has 1 twice"]),
        ("study.methods = ('beta_vea',)", ["beta_vea", "did you mean beta_vae?"]),
        ("study.methods = 'beta_vae'", ["study.methods", "('vae',)"]),
        ("study.methods = ()", ["study.methods"]),
        ("study.dataset = 'mpi3d_ty'", ["did you mean mpi3d_toy?"]),
        ("study.dataset = 'mine/none.npz'", ["there is no", "mine/none.npz"]),
        ("study.dataset = 3", ["study.dataset is 3"]),
        ("study.preset = 'papr'", ["did you mean paper?"]),
        ("study.metrics = ('mgi',)", ["did you mean mig?"]),
        ("study.settings = 'network.latents = 10'", ["study.settings", "texts"]),
        ("study.settings = ('trainer.seed = 3',)", ["trainer.seed", "study.seeds"]),
        ("study.variants = ('narrow',)", ["study.variants", "{'': ()"]),
        ("study.variants = {'a b': ()}", ["'a b'", "letters"]),
        ("study.variants = {'a': ('trainer.seed = 3',)}", ["trainer.seed", "study.seeds"]),
        ("study.threads = -1", ["study.threads is -1", "0 or more"]),
        ("study.attempts = 0", ["study.attempts is 0", "1 or more"]),
        ("trainer.seed = 3", ["trainer.seed", "study.seeds"]),
        ("dci.num_train = 'many'", ["dci.num_train", "whole number"]),
    ],
)
def test_a_mistake_is_told_with_what_is_right(binding, words):
    with pytest.raises(UserError) as caught:
        settings.read("quick", [binding])
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


def test_an_unknown_study_is_told_with_the_nearest():
    with pytest.raises(UserError, match="did you mean quick"):
        settings.read("quik", [])


def test_reading_a_study_imports_neither_pytorch_nor_matplotlib():
    program = (
        "import sys\n"
        "from study import settings\n"
        "settings.read('quick', [])\n"
        "print(sorted({'torch', 'matplotlib', 'pandas', 'ray', 'optuna'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
