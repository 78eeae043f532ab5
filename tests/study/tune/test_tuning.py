"""`python -m study tune` as a user runs it: training is real, and so is being killed."""

import argparse
import csv
import importlib.util
import json
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import gin
import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from evaluator.latents import latents_of
from study.folder import sole_study
from study.tune import tuning
from study.tune.trials import SearchFolder
from submission import configuration
from submission.command_line import Parser
from submission.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
# Trained in a second or two, and to the same last bit each time.
TINY = (
    "network.width = 0.05",
    "trainer.batch_size = 8",
    "pretraining.steps = 10",
    "trainer.checkpoint_every = '0.1s'",
    "capacity.steps = 20",
)
SEARCH = ("--search", "beta_vae.beta = log(0.5, 20)", "--search", "network.latents = int(4, 8)")

SHORT = (*SEARCH, "--steps", "40", "--trials", "2", "--gin", "trainer.snapshot_every = 20")
# So long that a fast machine, too, writes checkpoints before the end.
LONGER = (*SEARCH, "--steps", "1500", "--trials", "2", "--gin", "trainer.snapshot_every = 500")


def words(folder: Path, *arguments: str) -> list[str]:
    settings = [part for setting in TINY for part in ("--gin", setting)]
    return ["--method", "beta_vae", "--output", str(folder), *settings, *arguments]


def command(folder: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "study", "tune", *words(folder, *arguments)]


def tune(folder: Path, *arguments: str) -> int:
    """In this process."""
    parser = Parser()
    tuning.add_arguments(parser)
    return tuning.tune(parser.parse_args(words(folder, *arguments)))


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = command(folder, *arguments)
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=600)


def stored(folder: Path) -> optuna.Study:
    backend = JournalFileBackend(str(SearchFolder(folder).journal))
    return optuna.load_study(study_name="tune", storage=JournalStorage(backend))


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(SearchFolder(folder).table.open()))


def run_of(folder: Path, trial: FrozenTrial) -> Path:
    (name,) = trial.user_attrs["runs"]
    return folder / "trials" / name


def record(run: Path) -> dict:
    return json.loads((run / "training" / "run.json").read_text())


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search of two trials that nothing disturbed, and what it printed."""
    folder = tmp_path_factory.mktemp("search") / "tune"
    result = run(folder, *SHORT)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder, result.stdout


def test_each_trial_is_a_run_of_its_own_settings(search):
    folder, _ = search
    for trial, row in zip(stored(folder).trials, rows(folder), strict=True):
        assert (row["state"], row["steps"]) == ("finished", "40")
        told = record(run_of(folder, trial))
        assert (told["status"], told["steps"], told["seed"]) == ("finished", 40, 0)
        assert told["latents"] == int(row["network.latents"]) == trial.params["network.latents"]
        assert f"beta_vae.beta = {row['beta_vae.beta']}" in told["gin_config"]
        assert float(row["beta_vae.beta"]) == pytest.approx(trial.params["beta_vae.beta"], rel=1e-3)
        assert int(row["latents_in_use"]) == len(latents_of(told).in_use)


def test_the_trials_start_from_the_same_weights(search):
    """Of one number of latents; another has weights of another shape."""
    folder, _ = search
    latents = {row["network.latents"] for row in rows(folder)}
    assert len(list((folder / "trials" / "pretrained").glob("*.pt"))) == len(latents)


def test_the_best_settings_are_gin_that_the_trainer_reads(search):
    folder, output = search
    best = max(rows(folder), key=lambda row: float(row["elbo"]))
    text = (folder / "best.gin").read_text()
    assert "by elbo (unsupervised)" in text
    configuration.configure("beta_vae", "quick", [text])
    for setting in ("beta_vae.beta", "network.latents"):
        assert gin.query_parameter(setting) == float(best[setting])

    line = next(line for line in output.splitlines() if "./run.sh" in line)
    words = shlex.split(line)
    assert words[1:7] == ["--method", "beta_vae", "--dataset", "mpi3d_mini", "--preset", "quick"]
    bindings = words[8::2]
    assert set(words[7::2]) == {"--gin"}
    assert bindings == [line for line in text.splitlines() if line and not line.startswith("#")]


def test_enough_trials_need_no_further_training(search, capsys):
    folder, _ = search
    before = {path: modified(path) for path in (folder / "trials").rglob("*")}
    assert tune(folder, *SHORT) == 0
    assert "trial 0: beta" not in capsys.readouterr().out
    assert {path: modified(path) for path in (folder / "trials").rglob("*")} == before


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--criterion", "mig"], "holds a search with the criterion elbo, not mig"),
        (["--seed", "1"], "holds a search with the seeds [0], not [1]"),
        (["--search", "capacity.final = log(1, 9)"], "holds a search with the space"),
        (["--steps", "70"], "holds a search with the settings"),
    ],
)
def test_a_folder_with_another_search_is_left_alone(search, arguments, fragment):
    with pytest.raises(UserError, match="give another --output") as error:
        tune(search[0], *SHORT, *arguments)
    assert fragment in str(error.value)


# Torn within a trial's settings; gone with a trial's end; and with all of them, where there is a
# block of a disk that was never written.
@pytest.mark.parametrize(
    ("kept", "torn"),
    [
        (17, b"{"),
        (22, b""),
        (0, b"\0\n{\n"),
    ],
)
def test_a_journal_that_was_torn_at_its_end_leads_to_the_same_trials(
    search, tmp_path, capsys, kept, torn
):
    folder = shutil.copytree(search[0], tmp_path / "tune")
    journal = SearchFolder(folder).journal
    records = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(records[:kept]) + torn)
    (folder / "trials.csv").unlink()
    trained = {path: modified(path) for path in folder.rglob("*.pt")}
    assert tune(folder, *SHORT) == 0
    assert (folder / "trials.csv").read_text() == (search[0] / "trials.csv").read_text()
    assert {path: modified(path) for path in folder.rglob("*.pt")} == trained


@pytest.mark.parametrize(
    ("damaged", "fragment"),
    [
        (lambda records: [*records[:9], b"{" + records[9], *records[10:]], "line 10, is damaged"),
        (lambda records: [records[0], b'{"op_code": "x"}\n', *records[1:]], "holds a wrong record"),
    ],
)
def test_a_journal_damaged_amid_is_named_and_left_as_it_is(search, tmp_path, damaged, fragment):
    journal = SearchFolder(tmp_path).journal
    records = SearchFolder(search[0]).journal.read_bytes().splitlines(keepends=True)
    content = b"".join(damaged(records))
    journal.write_bytes(content)
    with pytest.raises(UserError, match="begins anew") as error:
        tune(tmp_path, *SHORT)
    assert str(journal) in str(error.value) and fragment in str(error.value)
    assert "\n" not in str(error.value)
    assert journal.read_bytes() == content


def test_a_second_search_in_the_same_folder_is_refused(tmp_path):
    with sole_study(SearchFolder(tmp_path)), pytest.raises(UserError, match="another"):
        tune(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "fragment"),
    [
        (["--method", "beta_vea"], "did you mean beta_vae?"),
        (["--method", "vae"], "vae has no settings of its own: name some with --search"),
        (["--dataset", "mpi3d_mni"], "did you mean mpi3d_mini?"),
        (["--preset", "quik"], "did you mean quick?"),
        (["--criterion", "migg"], "did you mean mig?"),
        (["--trials", "0"], "--trials"),
        (["--budget", "soon"], "--budget is 'soon'"),
        (["--budget", "0"], "--budget is '0'"),
        (["--gin", "beta_tcvae.beta = 3.0"], "did you mean beta_vae.beta"),
        (["--gin", "network.latents = 0"], "give a whole number, 1 or more"),
        (["--criterion", "udr", "--udr-seeds", "1"], "give 2 or more"),
        (["--search", "beta_vae.beta = 4"], "write it as"),
        (["--search", "beta_vae.bta = log(1, 2)"], "did you mean beta_vae.beta?"),
        (["--search", "trainer.seed = int(1, 2)"], "trainer.seed is no setting to search"),
        (["--search", "network.width = log(0.1, 1)"], "both set by --gin and searched"),
        (["--gin", "beta_vae.bta = 3"], "did you mean beta_vae.beta?"),
        (["--gin", "study.seeds = (1, 2)"], "--seed says that here"),
        (["--gin", "trainer.seed = 3"], "--seed says that here"),
    ],
)
def test_a_mistake_is_told_before_anything_is_written(tmp_path, arguments, fragment):
    with pytest.raises(UserError) as error:
        tune(tmp_path / "tune", *arguments)
    assert fragment in str(error.value)
    assert not (tmp_path / "tune").exists()


def test_a_mistake_is_one_line_and_exit_code_2(tmp_path):
    result = run(tmp_path / "tune", "--criterion", "elbow")
    assert result.returncode == 2
    assert result.stderr == "error: unknown criterion 'elbow': did you mean elbo?\n"


def test_without_optuna_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install --requirement .*requirements-study\.txt"):
        tune(tmp_path)


def modified(path: Path) -> int:
    return path.stat().st_mtime_ns


@pytest.fixture
def interrupted(tmp_path, wait_until, leftovers):
    """Ends a search by a signal in the midst of a training; returns what it printed."""

    def interrupt(number: signal.Signals, trial: int) -> str:
        process = subprocess.Popen(
            command(tmp_path / "tune", *LONGER),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        leftovers.append(process)

        def in_the_training() -> bool:
            assert process.poll() is None
            records = sorted(tmp_path.glob("tune/trials/*/training/run.json"), key=modified)
            checkpoint = records[-1].with_name("checkpoint.pt") if records else tmp_path / "none"
            return (
                len(records) == trial + 1
                and json.loads(records[-1].read_text())["steps"] > 0
                and checkpoint.exists()
                and modified(checkpoint) > modified(records[-1])
            )

        wait_until(in_the_training)
        process.send_signal(number)
        output, _ = process.communicate(timeout=120)
        wait_until(lambda: not trainers_at(tmp_path / "tune"))
        return output

    return interrupt


def trainers_at(folder: Path) -> list[str]:
    """Processes whose output goes there."""
    variable = f"AICROWD_OUTPUT_PATH={folder}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if variable in path.read_bytes():
                found.append(path.parent.name)
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def longer_search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("longer") / "tune"
    result = run(folder, *LONGER)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kill_9_leads_to_the_same_trials(tmp_path, longer_search, interrupted):
    """The trial that was under way keeps its number, and its run goes on from its checkpoint."""
    folder = tmp_path / "tune"
    interrupted(signal.SIGKILL, trial=1)
    told = stored(folder).trials
    assert [trial.state for trial in told] == [TrialState.COMPLETE, TrialState.RUNNING]
    # What a process may leave that was killed while it wrote.
    journal = SearchFolder(folder).journal
    journal.with_name("journal.log.lock").touch()
    with journal.open("a") as file:
        file.write('{"op_code":8,"worker_id":"a')

    result = run(folder, *LONGER)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "resuming training" in (run_of(folder, told[1]) / "training.log").read_text()
    assert "trial 0: beta" not in result.stdout
    for name in ("trials.csv", "best.gin"):
        assert (folder / name).read_text() == (longer_search / name).read_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_sigterm_has_the_run_save_its_state(tmp_path, interrupted):
    output = interrupted(signal.SIGTERM, trial=0)
    assert output.splitlines()[-1] == "interrupted: the same command goes on"
    (trial,) = stored(tmp_path / "tune").get_trials(states=(TrialState.RUNNING,))
    told = record(run_of(tmp_path / "tune", trial))
    assert (told["status"], told["message"][:17]) == ("interrupted", "SIGTERM ended tra")
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_that_falls_behind_is_ended_and_equal_settings_are_trained_once(tmp_path):
    """Of the first five trials, the median learns; then comes one that doesn't.

    The sampler's seed is one under which they come in this order.
    """
    folder = tmp_path / "tune"
    steps, every = 900, 300
    rates = (1e-3, 1e-9, 1e-10)
    result = run(
        folder,
        *("--search", f"trainer.learning_rate = choice({', '.join(map(repr, rates))})"),
        *("--gin", "plateau.minimum = 0.0", "--gin", f"trainer.snapshot_every = {every}"),
        *("--steps", str(steps), "--trials", "6", "--seed", "21"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    by_rate: dict[str, list[dict[str, str]]] = {}
    for row in rows(folder):
        by_rate.setdefault(row["trainer.learning_rate"], []).append(row)
    assert len(list((folder / "trials").glob("beta_vae-*"))) == len(by_rate) == 3
    for same in by_rate.values():
        assert len({(row["state"], row["elbo"], row["steps"]) for row in same}) == 1
    (pruned,) = (same[0] for same in by_rate.values() if same[0]["state"] == "pruned")
    assert pruned["trainer.learning_rate"] == "1e-10"
    assert pruned["steps"] == str(every)

    trial = stored(folder).trials[int(pruned["trial"])]
    told = record(run_of(folder, trial))
    assert told["status"] == "interrupted"
    assert every <= told["steps"] < steps
    assert (run_of(folder, trial) / "representation" / "pytorch_model.pt").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_supervised_choice_is_marked_wherever_it_is_told(tmp_path):
    folder = tmp_path / "tune"
    result = run(
        folder,
        *("--criterion", "mig", "--gin", "mig.num_train = 300", "--gin", "mig.batch_size = 10"),
        *("--trials", "1", "--steps", "20", "--gin", "trainer.snapshot_every = 10"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    told = stored(folder)
    assert told.user_attrs["supervised"] is True
    (trial,) = told.trials
    for where in (run_of(folder, trial), run_of(folder, trial) / "training" / "snapshots" / "10"):
        content = json.loads((where / "scores.json").read_text())
        assert content["provenance"]["gin_bindings"] == [
            "mig.num_train = 300",
            "mig.batch_size = 10",
        ]
        value = trial.intermediate_values[10] if where.name == "10" else trial.value
        assert content["scores"] == {"mig": value}
    (row,) = rows(folder)
    assert (row["mig"], row["supervised"]) == (repr(trial.value), "True")
    marked = "mig (supervised: uses the factors' labels)"
    assert marked in (folder / "best.gin").read_text()
    assert result.stdout.count(marked) >= 3


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_udr_trains_several_seeds_of_each_setting(tmp_path):
    folder = tmp_path / "tune"
    result = run(
        folder,
        *("--criterion", "udr", "--udr-seeds", "2", "--trials", "1", "--steps", "20"),
        *("--seed", "5"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "no trial is pruned" in result.stdout
    (trial,) = stored(folder).trials
    runs = [folder / "trials" / name for name in trial.user_attrs["runs"]]
    assert [record(run)["seed"] for run in runs] == [5, 6]
    assert trial.intermediate_values == {}
    written = json.loads((runs[0] / "udr.json").read_text())
    assert trial.value == pytest.approx(sum(written["lasso"]["scores"]) / 2)
    (row,) = rows(folder)
    assert (row["supervised"], row["steps"]) == ("False", "20/20")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_failing_trials_end_the_search(tmp_path):
    """A learning rate of which the weights explode: their gradient or their ELBO isn't finite."""
    folder = tmp_path / "tune"
    result = run(
        folder,
        *("--search", "trainer.learning_rate = choice(0.5, 1.0)", "--trials", "9"),
        *("--steps", "300"),
    )
    assert result.returncode == 1, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert [trial.state for trial in stored(folder).trials] == [TrialState.FAIL] * 3
    problem = stored(folder).trials[0].user_attrs["problem"]
    assert "not finite" in problem or "is nan" in problem
    # It would have been compared ten times.
    told = record(run_of(folder, stored(folder).trials[0]))
    assert "trainer.snapshot_every = 30" in told["gin_config"]
    assert not (folder / "best.gin").exists()


def test_the_module_is_cheap_to_import():
    """`python -m study --help` must not wait for PyTorch."""
    slow = "{'torch', 'optuna', 'rich'}"
    line = f"import sys; import study.tune.tuning; print({slow} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", line], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout == "set()\n", result.stderr


def test_the_help_has_no_markup_that_argparse_refuses():
    parser = argparse.ArgumentParser()
    tuning.add_arguments(parser)
    assert "--udr-seeds" in parser.format_help()
