"""Whose things are, and that what a killed process left goes with the next start."""

import os
import subprocess
import sys
import time

import pytest

from container import ownership
from container.ownership import is_dead, owner


@pytest.fixture
def process():
    process = subprocess.Popen(["sleep", "100"])
    yield process
    process.kill()
    process.wait()


class NoThings:
    """An engine that has neither containers nor volumes."""

    def list(self, **arguments):
        return []

    @property
    def containers(self):
        return self

    volumes = containers


def test_a_process_that_runs_is_alive(process):
    assert not is_dead(owner(process.pid))
    assert not is_dead(owner())


def test_a_killed_process_is_dead_though_nobody_has_waited_for_it(process):
    name = owner(process.pid)
    process.kill()
    deadline = time.monotonic() + 10
    while not is_dead(name):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_another_process_of_the_same_number_is_not_the_owner(process):
    name = owner(process.pid)
    assert is_dead(name.rpartition("-")[0] + "-1")


def test_a_process_from_before_the_machine_was_started_is_dead():
    host, _, pid, start = owner().split("-")
    assert is_dead(f"{host}-00000000-{pid}-{start}")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting /proc needs root")
def test_another_users_process_that_proc_hides_is_alive():
    script = """
import os, sys
from container.ownership import is_dead, owner
name = owner()
if child := os.fork():
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.setgroups([])
os.setresgid(1001, 1001, 1001)
os.setresuid(1001, 1001, 1001)
os._exit(os.path.exists(f"/proc/{os.getppid()}") or is_dead(name))
"""
    hidden = ("unshare", "--mount", "--pid", "--fork", "sh", "-c")
    mount = "mount -t proc -o hidepid=2 proc /proc"
    if subprocess.run([*hidden, mount], capture_output=True).returncode:
        pytest.skip("/proc can't be mounted here")
    command = [*hidden, f'{mount} && exec "$0" -c "$1"', sys.executable, script]
    assert subprocess.run(command, env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0


@pytest.mark.parametrize("name", ["", "x", "0123456789ab-00000000-1-1", "garbage-of-some-kind"])
def test_what_is_of_another_machine_counts_as_alive(name):
    assert not is_dead(name)


def test_a_sweep_removes_the_folders_of_the_dead_and_no_other(tmp_path):
    script = """
import os, signal, sys
from pathlib import Path
from container import ownership
with ownership.temporary_folder(Path(sys.argv[1])) as folder:
    (folder / "x").touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    path = {"PYTHONPATH": ":".join(map(str, sys.path))}
    subprocess.run([sys.executable, "-c", script, tmp_path], env=path)
    (tmp_path / "mine").mkdir()
    assert len(list(tmp_path.iterdir())) == 2
    with ownership.temporary_folder(tmp_path) as living:
        ownership.sweep(NoThings(), [tmp_path])
        assert sorted(tmp_path.iterdir()) == sorted([living, tmp_path / "mine"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
