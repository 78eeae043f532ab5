"""Submissions that mean harm: each is stopped, told in one line, and harms nothing outside."""

import json
import os
import socket
import subprocess
import threading
import time

import pytest
import torch
from torch import nn

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Sleeps(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        turns = 0
        while turns >= 0:
            turns = 1 - turns
        return images.flatten(1)


class Allocates(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        kept = [torch.rand(16777216)]
        while len(kept) > 0:
            kept.append(torch.rand(16777216))
        return images.flatten(1)


class Prints(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        while bool(images.isfinite().all()):
            print(images)
        return images.flatten(1)


def test_sockets_lead_nowhere(portal, write_hostile_dill):
    addresses = {"127.0.0.1", *socket.gethostbyname_ex(socket.gethostname())[2]}
    with socket.create_server(("0.0.0.0", 0)) as server:
        server.settimeout(0.1)
        port = server.getsockname()[1]
        code = f"""
import socket
reached = []
for address in {sorted(addresses)}:
    try:
        socket.create_connection((address, {port}), timeout=3)
        reached.append(address)
    except OSError:
        pass
raise ValueError(f'reached {{reached}}')
"""
        error = portal.score(write_hostile_dill(code)).error
        with pytest.raises(TimeoutError):
            server.accept()
    assert "reached []" in error


def test_forks_without_end_stay_below_the_limit_and_end_with_the_container(portal, make_submission):
    script = """
exec /opt/venv/bin/python -c '
import os
while True:
    try:
        os.fork()
    except OSError:
        pass
'
"""
    tag = make_submission(script)
    before, most = _processes_of_containers(), 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.5):
            most = max(most, _processes_of_containers())

    watcher = threading.Thread(target=watch)
    watcher.start()
    given = ("--processes", 60, "--cpus", 0.5, "--time-limit", "25s", "--grace", "0s")
    try:
        error = portal("simulate", *given, image=tag).error
    finally:
        done.set()
        watcher.join()
    assert "ran past its wall clock of 25s" in error
    assert 20 < most - before <= 62  # the limit, and the keeper of the output
    assert _processes_of_containers() == before


@pytest.mark.parametrize("kind", ["dill", "torchscript"])
def test_memory_without_end_is_ended_at_the_limit(
    portal, write_hostile_dill, write_torchscript, kind
):
    if kind == "dill":
        folder = write_hostile_dill("kept = []\nwhile True: kept.append(bytearray(b'x') * 2**26)")
    else:
        folder = write_torchscript(Allocates())
    error = portal.score(folder, "--memory", "2g").error
    assert error == (
        "scoring: the submission's code needed more than its 1 GiB of memory and was killed"
    )


def test_nothing_but_the_output_and_tmp_can_be_written(portal, write_hostile_dill, data_set):
    code = """
import os
places = ['/etc/x', '/home/aicrowd/x', '/home/aicrowd/run.sh', '/opt/venv/x', '/REPRESENTATION/x',
    '/REPRESENTATION/python_model.dill', '/DATASET/x', '/DATASET/mpi3d_mini/x', '/var/tmp/x',
    '/DATASET/mpi3d_mini/mpi3d_mini.npz', '/SHARED/../x', '/proc/sys/kernel/hostname',
    '/proc/sysrq-trigger', '/sys/kernel/profiling', '/sys/fs/cgroup/memory/memory.limit_in_bytes',
    '/sys/fs/cgroup/memory.max', '/dev/mem', '/dev/vda', '/dev/sda', '/var/run/docker.sock']
wrote = []
for place in places:
    try:
        with open(place, 'ab') as file:
            file.write(b'x')
        wrote.append(place)
    except OSError:
        pass
for act in (lambda: os.setuid(0), lambda: os.mknod('/tmp/disk', 0o60600, os.makedev(254, 0)),
            lambda: os.chroot('/tmp'), lambda: os.kill(-1, 0) or os.nice(-1)):
    try:
        act()
        wrote.append('as root')
    except OSError:
        pass
raise ValueError(f'wrote {wrote}')
"""
    folder = write_hostile_dill(code)
    states = [(path, path.stat()) for path in (data_set.path, folder / "python_model.dill")]
    error = portal.score(folder).error
    assert "wrote []" in error
    for path, state in states:
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
    assert sorted(path.name for path in folder.iterdir()) == ["python_model.dill"]


def test_a_disk_filled_without_end_is_the_outputs_own(portal, make_submission):
    free = os.statvfs("/").f_bavail
    tag = make_submission('cat /dev/zero >"$AICROWD_OUTPUT_PATH/x"')
    answer = portal("simulate", "--output-limit", "64m", image=tag)
    assert answer.code == 1
    assert "No space left on device" in answer.output
    assert abs(os.statvfs("/").f_bavail - free) * os.statvfs("/").f_frsize < 2**30


def test_a_file_longer_than_it_is_is_refused(portal, make_submission):
    script = 'mkdir -p "$AICROWD_OUTPUT_PATH/experiment_name"\n'
    script += 'truncate -s 1T "$AICROWD_OUTPUT_PATH/experiment_name/x"'
    answer = portal("simulate", "--output-limit", "64m", image=make_submission(script))
    assert answer.error == "the submission left more than 0.0625 GiB: it was refused"


@pytest.mark.parametrize("kind", ["dill", "torchscript"])
def test_sleep_for_ever_ends_at_the_wall_clock(portal, write_hostile_dill, write_torchscript, kind):
    if kind == "dill":
        folder = write_hostile_dill("import time\ntime.sleep(1e6)")
    else:
        folder = write_torchscript(Sleeps())
    started = time.monotonic()
    error = portal.score(folder, "--time-limit", "15s").error
    assert time.monotonic() - started < 40
    assert error == "scoring: it ran past its wall clock of 15s and was ended by SIGTERM"


@pytest.mark.parametrize("kind", ["dill", "torchscript"])
def test_gigabytes_of_print_are_cut_off(portal, write_hostile_dill, write_torchscript, kind):
    if kind == "dill":
        folder = write_hostile_dill("import os\nwhile True: os.write(1, b'x' * 2**16)")
    else:
        folder = write_torchscript(Prints())
    answer = portal.score(folder)
    assert answer.error == (
        "scoring: the submission's code printed more than 16 MiB and was killed"
    )
    assert len(answer.output) < 18 * 2**20


def test_what_a_terminal_would_obey_is_not_passed_on(portal, write_hostile_dill):
    code = r"print('\x1b]0;title\x07\x1b[2Jseen\x1b[8m', flush=True)" + "\nraise ValueError('end')"
    answer = portal.score(write_hostile_dill(code))
    assert "model: seen" in answer.output.splitlines()
    assert "\x1b" not in answer.output
    assert "end" in answer.error


@pytest.mark.parametrize("target", ["/etc/passwd", "/"])
def test_an_exported_link_is_refused(portal, make_submission, target):
    script = f"""
folder="$AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME"
mkdir -p "$folder/representation/results"
ln -s {target} "$folder/representation/pytorch_model.pt"
"""
    error = portal("simulate", image=make_submission(script)).error
    assert error == (
        f"the submission left 'representation/pytorch_model.pt', a link to '{target}': links are "
        "refused; write the file itself"
    )
    assert not (portal.folder / "experiment_name").exists()


def test_a_run_folder_that_is_a_link_is_refused(portal, make_submission):
    script = 'ln -s /etc "$AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME"'
    error = portal("simulate", image=make_submission(script)).error
    assert "a link to '/etc'" in error


def test_an_image_that_scores_itself_has_no_say(portal, make_submission, client, built):
    train = """
folder="$AICROWD_OUTPUT_PATH/$AICROWD_EVALUATION_NAME/representation"
mkdir -p "$folder"
cat >/tmp/export.py <<'PYTHON'
import sys, torch
class Constant(torch.nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.zeros(len(images), 2)
torch.jit.save(torch.jit.script(Constant()), sys.argv[1] + "/pytorch_model.pt")
PYTHON
/opt/venv/bin/python /tmp/export.py "$folder"
"""
    forges = """#!/bin/bash
mkdir -p /SHARED/scored/metrics/mig/results/aggregate
echo '{}' >/SHARED/scored/metrics/mig/results/aggregate/evaluation.json
echo '{"scores": {"mig": 1.0}, "sum": 1.0, "metrics": {"mig": {}}, "provenance": {"seed": 0,
  "dataset": "mpi3d_mini", "engine": "fast", "preset": "challenge"}}' >/SHARED/scored/scores.json
"""
    lines = ("COPY python /first/python", "ENV PATH=/first:$PATH")
    tag = make_submission(train, *lines, python=forges)
    answer = portal("simulate", image=tag)
    assert answer.code == 0, answer.errors
    scores = json.loads((portal.folder / "experiment_name/scores.json").read_text())
    assert scores["scores"]["mig"] == 0.0
    assert scores["provenance"]["image"] == client.images.get(built).id


def test_a_link_in_a_folder_to_score_is_refused(portal, folder):
    (folder / "pytorch_model.pt").symlink_to("/etc/passwd")
    assert "is a link to '/etc/passwd': links are refused" in portal.score(folder).error


def _processes_of_containers() -> int:
    listed = subprocess.run(["ps", "-eo", "uid="], capture_output=True, text=True, check=True)
    return sum(line.strip() == "1001" for line in listed.stdout.splitlines())
