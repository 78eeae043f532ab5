"""The portal's round in the real image: training, its end, scoring, and what is left of it all."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from container import ownership

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUN = '"$AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME"'

# Exports as ours does, each file whole or not at all, and then never ends.
STUBBORN = f"""
trap '' TERM
folder={RUN}/representation
mkdir -p "$folder/results"
cat >/tmp/export.py <<'PYTHON'
import os, sys, torch
class Pixels(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.flatten(1)[:, :4000:500]
torch.jit.save(torch.jit.script(Pixels()), sys.argv[1] + "/.incomplete-model.pt")
os.rename(sys.argv[1] + "/.incomplete-model.pt", sys.argv[1] + "/pytorch_model.pt")
with open(sys.argv[1] + "/.incomplete-next", "wb") as file:
    file.write(b"half of the next export")
PYTHON
python /tmp/export.py "$folder"
echo exported
while :; do sleep 1; done
"""


def names_in(folder):
    """What is in a folder of runs, but for the locks of their names and the images' sources."""
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if not name.endswith(".lock") and "context-" not in name)


def wait_for(process, wanted):
    """Reads a command's lines until one is there."""
    for line in process.stdout:
        if line == f"{wanted}\n":
            return
    raise AssertionError(process.stderr.read())


def test_our_submission_trains_is_ended_by_sigterm_and_scored(portal):
    answer = portal("simulate", "--time-limit", "30s -- --preset quick --budget 10m")
    assert answer.code == 0, answer.errors
    assert "ran past its wall clock of 30s and was ended by SIGTERM" in answer.output
    folder = portal.folder / "experiment_name"
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "container.log",
        "scoring.log",
        "scores.json",
        "report.html",
        "representation/pytorch_model.pt",
        "training/run.json",
        "metrics/mig/results/aggregate/evaluation.json",
    } <= names
    record = json.loads((folder / "training/run.json").read_text())
    assert record["status"] == "interrupted"
    assert record["git_revision"] != "unknown"
    assert all(path.stat().st_uid == os.getuid() for path in folder.rglob("*"))
    assert names_in(portal.folder) == ["experiment_name"]


def test_a_submission_that_ignores_sigterm_is_killed_and_its_last_export_scored(
    portal, make_submission
):
    tag = make_submission(STUBBORN)
    started = time.monotonic()
    answer = portal("simulate", "--time-limit", "10s", "--grace", "3s", image=tag)
    assert answer.code == 0, answer.errors
    assert (
        "training: the submission ran past its wall clock of 10s, ignored SIGTERM for 3s and was "
        "killed; its last export is scored"
    ) in answer.output
    assert time.monotonic() - started < 120
    folder = portal.folder / "experiment_name"
    assert json.loads((folder / "scores.json").read_text())["provenance"]["latents"] == 8
    assert not list(folder.rglob(".incomplete-*"))


def test_what_failed_after_an_export_is_scored_and_told(portal, make_submission):
    tag = make_submission(STUBBORN.replace("while :; do sleep 1; done", "exit 3"))
    answer = portal("simulate", image=tag)
    assert answer.code == 1
    assert answer.errors == "error: training ended with exit code 3\n"
    assert (portal.folder / "experiment_name" / "scores.json").exists()


def test_files_in_the_way_of_the_scores_are_no_obstacle(portal, make_submission):
    script = STUBBORN.replace(
        "while :; do sleep 1; done",
        f"cd {RUN} && mkdir container.log scores.json report.html && touch metrics",
    )
    answer = portal("simulate", image=make_submission(script))
    assert answer.code == 0, answer.errors
    folder = portal.folder / "experiment_name"
    assert (folder / "metrics").is_dir()
    assert all((folder / f"{name}").is_file() for name in ("scores.json", "report.html"))


def test_nothing_exported_is_told(portal, make_submission):
    error = portal("simulate", image=make_submission("echo done")).error
    assert error.startswith("the submission wrote nothing to representation/")


def test_a_mistake_in_the_options_of_training_is_told_in_one_line(portal):
    error = portal("simulate", "--time-limit 1m -- --method beta").error
    assert error.startswith("training: unknown method")


def test_the_container_is_the_portals(portal, make_submission, tmp_path):
    script = """
echo "id=$(id -u):$(id -g) home=$(pwd) me=$0 arguments=$*"
env | grep -E '^(AICROWD|NDC|DISENTANGLEMENT|HTTP_PROXY)' | sort
echo "capabilities=$(grep CapEff /proc/self/status | cut -f2)"
echo "privileges=$(grep NoNewPrivs /proc/self/status | cut -f2)"
echo "interfaces=$(ls /sys/class/net)"
touch /home/aicrowd/x 2>/dev/null || echo "root is read-only"
touch /DATASET/mpi3d_mini/x 2>/dev/null || echo "data set is read-only"
test -r /DATASET/mpi3d_mini/mpi3d_mini.npz && echo "data set can be read"
touch /SHARED/x /tmp/x /dev/shm/x && echo "output, /tmp and /dev/shm can be written"
for limit in memory/memory.limit_in_bytes memory/memory.memsw.limit_in_bytes pids/pids.max \
    cpu/cpu.cfs_quota_us memory.max memory.swap.max pids.max cpu.max; do
  [ ! -e /sys/fs/cgroup/$limit ] || echo "limit $(cat /sys/fs/cgroup/$limit)"
done
"""
    limits = ("--memory", "1g", "--processes", 100, "--cpus", 0.5)
    proxies = {"default": {"httpProxy": "http://user:password@proxy"}}
    (tmp_path / "config.json").write_text(json.dumps({"proxies": proxies}))
    answer = portal(
        *("simulate", *limits, "-- --seed 7"),
        image=make_submission(script),
        DOCKER_CONFIG=str(tmp_path),
    )
    assert "password" not in answer.output
    lines = answer.output.splitlines()
    for line in (
        "id=1001:1001 home=/home/aicrowd me=/home/aicrowd/run.sh arguments=--seed 7",
        "AICROWD_CUDA=0",
        "AICROWD_DATASET_NAME=mpi3d_mini",
        "AICROWD_EVALUATION_NAME=experiment_name",
        "AICROWD_IS_GRADING=1",
        "AICROWD_OUTPUT_PATH=/SHARED",
        "DISENTANGLEMENT_LIB_DATA=/DATASET",
        "NDC_ROOT=/home/aicrowd",
        "capabilities=0000000000000000",
        "privileges=1",
        "interfaces=lo",
        "root is read-only",
        "data set is read-only",
        "data set can be read",
        "output, /tmp and /dev/shm can be written",
        f"limit {2**30}",
        "limit 100",
    ):
        assert line in lines, lines
    assert {"limit 50000", "limit 50000 100000"} & set(lines)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_second_interruption_removes_everything(portal, make_submission, number):
    process = portal.start("simulate", image=make_submission(STUBBORN))
    wait_for(process, "exported")
    started = time.monotonic()
    os.killpg(process.pid, number)
    time.sleep(0.2)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - started < 30
    assert process.returncode == 1
    assert errors == "interrupted: the containers and what they wrote are removed\n"
    assert names_in(portal.folder) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interruption_ends_training_as_if_its_time_was_up_and_keeps_it(
    portal, make_submission, number
):
    tag = make_submission(STUBBORN.replace("trap '' TERM", "trap 'echo ended; exit 0' TERM"))
    process = portal.start("simulate", image=tag)
    wait_for(process, "exported")
    os.killpg(process.pid, number)
    output, errors = process.communicate(timeout=60)
    folder = portal.folder / "experiment_name"
    assert process.returncode == 1
    assert "training: the submission was interrupted and was ended by SIGTERM\n" in output
    assert errors == (
        f"interrupted: {folder} is kept; python docker/portal.py score {folder}/representation "
        "scores it\n"
    )
    assert (folder / "representation/pytorch_model.pt").exists()
    assert (folder / "container.log").read_text() == "exported\nended\n"
    assert names_in(portal.folder) == ["experiment_name"]


def test_an_interruption_before_an_export_leaves_nothing(portal, make_submission):
    process = portal.start("simulate", image=make_submission("echo begun; sleep 1000 & wait"))
    wait_for(process, "begun")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors == "interrupted before training had exported anything\n"
    assert names_in(portal.folder) == []


def test_what_kill_9_leaves_is_swept_and_the_last_copy_is_kept(
    portal, make_submission, left_on_engine
):
    tag = make_submission(STUBBORN)
    process = portal.start("simulate", "--save-every 2s", image=tag)
    wait_for(process, "exported")
    copy = portal.folder / "experiment_name.unfinished"
    deadline = time.monotonic() + 60
    while not copy.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert left_on_engine() != []
    assert (copy / "representation/pytorch_model.pt").exists()
    assert (copy / "container.log").read_text() == "exported\n"

    answer = portal("simulate", image=make_submission("echo nothing"))
    assert answer.error.startswith("the submission wrote nothing to representation/")
    folder = portal.folder / "experiment_name"
    assert f"of a simulation that was killed, the last copy is kept as {folder}\n" in answer.output
    assert (folder / "representation/pytorch_model.pt").exists()
    assert names_in(portal.folder) == ["experiment_name"]
    assert left_on_engine() == []


def test_a_container_ends_itself_when_nobody_is_there_to_end_it(portal, make_submission, client):
    tag = make_submission(STUBBORN)
    process = portal.start("simulate", "--time-limit 5s --grace 1s", image=tag)
    wait_for(process, "exported")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    deadline = time.monotonic() + 5 + 2 * (1 + 10) + 10
    while client.containers.list(filters={"name": "portal-training-"}):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    ownership.sweep(client, [portal.folder])


def test_a_second_simulation_of_one_name_is_refused(portal, make_submission):
    tag = make_submission(STUBBORN)
    process = portal.start("simulate", image=tag)
    wait_for(process, "exported")
    try:
        assert portal("simulate", image=tag).error == (
            f"{portal.folder}/experiment_name is in use by another run: choose another --name"
        )
    finally:
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.2)
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=60)


def test_printed_progress_of_any_kind_ends_nothing(portal, make_submission):
    script = """
event='{"event_type": "x", "payload": {"training_progress": '
echo "$event$(printf '9%.0s' $(seq 400))}}"
echo "$event$(printf '[%.0s' $(seq 1900))"
echo done
"""
    answer = portal("simulate", image=make_submission(script))
    assert answer.error.startswith("the submission wrote nothing to representation/")
    assert "done" in answer.output.splitlines()


def test_a_terminal_shows_a_bar_that_follows_training(portal, make_submission):
    event = '{"event_type": "AICROWD_EVENT_INFO", "payload": {"training_progress": 0.25}}'
    tag = make_submission(f"echo first; echo '{event}'; sleep 2; echo last")
    # script(1) gives the command a terminal.
    command = f"{sys.executable} docker/portal.py simulate --image {tag}"
    shown = subprocess.run(
        ["script", "--quiet", "--return", "--command", command, "/dev/null"],
        env=portal.environment | {"TERM": "xterm", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    ).stdout
    assert "first" in shown
    assert "last" in shown
    assert "training_progress" not in shown
    assert re.search(r"training.* 25%  1s of 8h00m", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown))
