"""`python -m submission` as a user runs it: a process of its own, its output and exit code."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from submission.training.progress import PortalDisplay

ROOT = Path(__file__).resolve().parents[2]
SMALL = ["--gin", "network.width = 0.125", "--gin", "trainer.batch_size = 8"]
# The preset's budget of hours would try torch.compile, which takes half a minute.
SMALL += ["--gin", "speed.compile = False"]
FEW_STEPS = [*SMALL, "--gin", "trainer.max_steps = 20", "--gin", "pretraining.steps = 5"]
ENDLESS = [*SMALL, "--gin", "trainer.checkpoint_every = '1s'", "--gin", "pretraining.steps = 40"]


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.setenv("AICROWD_OUTPUT_PATH", str(tmp_path / "shared"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for variable in ("AICROWD_IS_GRADING", "AICROWD_EVALUATION_NAME", "AICROWD_DATASET_NAME"):
        monkeypatch.delenv(variable, raising=False)
    return tmp_path / "shared" / "experiment_name"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "submission", *arguments]


def run(*arguments: str, **settings) -> subprocess.CompletedProcess:
    settings = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 120} | settings
    return subprocess.run(command(*arguments), check=False, **settings)


def assert_users_mistake(result: subprocess.CompletedProcess, *words: str) -> None:
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    for word in words:
        assert word in result.stderr


def assert_valid(run_folder: Path) -> None:
    """A representation is there that works, and no file is half-written."""
    model = torch.jit.load(str(run_folder / "representation" / "pytorch_model.pt"))
    assert model(torch.rand(3, 3, 64, 64)).isfinite().all()
    json.loads((run_folder / "training" / "run.json").read_text())


def test_a_run_exports_into_the_folder_of_its_name_and_exits_with_0(environment):
    result = run("--preset", "challenge", "--name", "mine", "--method", "vae", *FEW_STEPS)
    assert result.returncode == 0, result.stderr
    assert "finished: all 20 steps are done" in result.stdout
    assert_valid(environment.parent / "mine")


@pytest.mark.slow
def test_a_budget_of_hours_tries_the_compiler(environment):
    result = run("--preset", "challenge", *FEW_STEPS, "--gin", "speed.compile = True")
    assert result.returncode == 0, result.stderr
    assert "trying torch.compile" in result.stdout
    assert ", compiled: 0." in result.stdout
    assert_valid(environment)


def test_a_run_whose_output_nobody_reads_any_more_is_finished(environment):
    read, write = os.pipe()
    os.close(read)
    result = run(
        *("--preset", "challenge", *FEW_STEPS),
        **{"capture_output": False, "stdout": write, "stderr": write},
    )
    os.close(write)
    assert result.returncode == 0
    assert json.loads((environment / "training" / "run.json").read_text())["status"] == "finished"
    assert_valid(environment)


def test_a_budget_too_short_to_train_is_a_warning(environment):
    result = run("--budget", "1s")
    assert result.returncode == 0, result.stderr
    assert "warning: a budget of 1s is too short" in result.stdout
    assert_valid(environment)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "beta_vea"], ["beta_vea", "did you mean beta_vae?"]),
        (["--preset", "papr"], ["did you mean paper?"]),
        (["--gin", "beta_tcvae.bta = 3"], ["did you mean beta_tcvae.beta?"]),
        (["--gin", "beta_vae.beta = 8"], ["no effect", "did you mean beta_tcvae.beta"]),
        (["--gin-file", "nowhere.gin"], ["--gin-file", "nowhere.gin"]),
        (["--budget", "5 minutes"], ["5 minutes", "5m"]),
        (["--budget", "0"], ["--budget is '0'", "above 0"]),
        (["--dataset", "mpi3d_mni"], ["mpi3d_mni", "mpi3d_mini"]),
        (["--name", "../elsewhere"], ["--name"]),
        (["--seed", "one"], ["--seed", "--help"]),
        (["--seed", "-1"], ["--seed", "between 0 and 4294967295"]),
        (["--methd", "vae"], ["--methd"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(environment, arguments, words):
    assert_users_mistake(run(*arguments), *words)
    assert not environment.exists()


def test_a_missing_data_set_is_one_line(environment, tmp_path, monkeypatch):
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "nowhere"))
    assert_users_mistake(run("--dataset", "mpi3d_toy"), "mpi3d_toy", "download mpi3d_toy")
    assert not environment.exists()


def test_a_truncated_data_set_is_one_line(environment, tmp_path, monkeypatch):
    path = tmp_path / "data" / "mpi3d_toy" / "mpi3d_toy.npz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"PK\x03\x04 and then nothing")
    monkeypatch.setenv("DISENTANGLEMENT_LIB_DATA", str(tmp_path / "data"))
    assert_users_mistake(run("--dataset", "mpi3d_toy"), "mpi3d_toy.npz")


def test_an_output_folder_that_is_a_file_is_one_line(environment, tmp_path):
    (tmp_path / "shared").write_text("in the way")
    assert_users_mistake(run("--preset", "challenge", *FEW_STEPS), "shared")


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv"
)
@pytest.mark.parametrize("part", ["shared", "shared/.experiment_name.lock"])
def test_another_users_output_folder_is_one_line(environment, part):
    path = environment.parents[1] / part
    environment.parent.mkdir()
    path.touch()
    os.chown(path, 1001, 1001)
    # Root without what lets it pass over permissions.
    powers = "-dac_override,-dac_read_search"
    result = subprocess.run(
        [
            "setpriv",
            f"--bounding-set={powers}",
            f"--inh-caps={powers}",
            *command("--preset", "challenge", *FEW_STEPS),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert_users_mistake(result, "can't be written", "set AICROWD_OUTPUT_PATH")
    assert not environment.exists()


def test_the_portal_gets_its_progress_events(environment, monkeypatch):
    monkeypatch.setenv("AICROWD_IS_GRADING", "1")
    result = run(*FEW_STEPS)
    assert result.returncode == 0, result.stderr
    events = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    names = [
        event["payload"]["event_type"].removeprefix("disentanglement_challenge:")
        for event in events
    ]
    assert names[0] == "execution_started"
    assert names[-1] == "submit"
    assert [e for e in events if e["message"] == "register_progress"][-1]["payload"][
        "training_progress"
    ] == 1.0


def test_an_event_server_that_is_not_there_costs_nothing(monkeypatch, capsys):
    monkeypatch.setenv("AICROWD_REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("AICROWD_REDIS_PORT", "9")
    display = PortalDisplay(goes_on=False)
    display.update("training", 0.5, "step 5/10")
    display.close("finished")
    output = capsys.readouterr().out
    assert output.count("can't be reached") == 1
    assert output.splitlines()[0].startswith('{"event_type": "AICROWD_EVENT_INFO"')
    assert '"message": "submit"' in output.splitlines()[-1]


def start_endless_run(*arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        command("--preset", "challenge", *ENDLESS, *arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop(process: subprocess.Popen, number: signal.Signals) -> str:
    """Sends a signal, and returns what the process had printed by its end."""
    process.send_signal(number)
    return process.communicate(timeout=120)[0]


def wait_for_change(path: Path, process: subprocess.Popen) -> None:
    """Waits until a file is written anew, which also says that the process is in its loop."""
    before = path.stat().st_mtime_ns if path.exists() else None
    while process.poll() is None:
        if path.exists() and path.stat().st_mtime_ns != before:
            return
        time.sleep(0.02)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=pytest.mark.slow),
    ],
)
def test_a_signal_ends_the_run_with_a_valid_representation_and_exit_code_1(environment, number):
    process = start_endless_run()
    wait_for_change(environment / "training" / "checkpoint.pt", process)
    process.send_signal(number)
    time.sleep(0.02)
    output = stop(process, number)
    assert process.returncode == 1, output
    assert f"interrupted: {number.name} ended" in output
    assert "Traceback" not in output
    assert_valid(environment)
    assert (
        json.loads((environment / "training" / "run.json").read_text())["status"] == "interrupted"
    )


@pytest.mark.slow
def test_time_behind_the_last_checkpoint_counts_after_a_kill(environment):
    started = time.monotonic()
    process = start_endless_run("--gin", "trainer.checkpoint_every = '1h'")
    seconds = environment / "training" / "seconds_spent"
    wait_for_change(seconds, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    lasted = time.monotonic() - started

    started = time.monotonic()
    process = start_endless_run("--gin", "trainer.checkpoint_every = '1h'")
    wait_for_change(seconds, process)
    time.sleep(4.0)
    stop(process, signal.SIGKILL)
    lasted += time.monotonic() - started

    process = start_endless_run("--gin", "trainer.checkpoint_every = '1h'")
    wait_for_change(seconds, process)
    stop(process, signal.SIGTERM)
    record = json.loads((environment / "training" / "run.json").read_text())
    assert record["seconds_spent"] > lasted - 2.5


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_20_signals_at_random_moments_never_leave_a_half_written_file(environment, number):
    """Each process goes on where the one before was stopped; the moments are seeded.

    Every second signal comes during start-up, the others while checkpoints are written each second.
    """
    moments = random.Random(number.value)
    record = environment / "training" / "run.json"
    checkpoint = environment / "training" / "checkpoint.pt"
    for trial in range(20):
        process = start_endless_run()
        if trial % 2:
            wait_for_change(checkpoint, process)
        time.sleep(moments.uniform(0.05, 4.0))
        output = stop(process, number)
        if number == signal.SIGTERM and process.returncode == -number:
            # Python itself was still starting: nothing of the run had begun.
            assert output == ""
        else:
            assert process.returncode == (1 if number == signal.SIGTERM else -number), output
        if process.returncode == 1 or record.exists():
            assert_valid(environment)
        if checkpoint.exists():
            torch.load(checkpoint, weights_only=True)
    result = run("--preset", "challenge", *ENDLESS, "--budget", "40s")
    assert "resuming" in result.stdout, result.stderr
    assert result.returncode == 0, result.stderr
    assert list(environment.rglob(".incomplete-*")) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_full_disk_is_one_line(environment, monkeypatch, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], check=True)
    try:
        monkeypatch.setenv("AICROWD_OUTPUT_PATH", str(disk))
        assert_users_mistake(run("--budget", "30s"), "no room on the disk", str(disk))
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small tmpfs needs root")
def test_a_disk_that_fills_up_during_training_costs_a_warning(environment, monkeypatch, tmp_path):
    """Checkpoints are dropped, training goes on, and the last good representation stays whole."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(disk)], check=True)
    monkeypatch.setenv("AICROWD_OUTPUT_PATH", str(disk))
    process = subprocess.Popen(
        command("--preset", "challenge", *ENDLESS, "--budget", "20s"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        checkpoint = disk / "experiment_name" / "training" / "checkpoint.pt"
        while process.poll() is None and not checkpoint.exists():
            time.sleep(0.05)
        fill = ["dd", "if=/dev/zero", f"of={disk / 'hog'}", "bs=4k"]
        subprocess.run(fill, check=False, stderr=subprocess.DEVNULL)
        output, _ = process.communicate(timeout=60)
        assert "training goes on" in output
        assert process.returncode == 2, output
        assert "no room on the disk" in output.splitlines()[-1]
        assert_valid(disk / "experiment_name")
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", str(disk)], check=True)
