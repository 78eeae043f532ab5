"""Disks that are full, read-only or another user's, met by commands in processes of their own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting and chown need root")
# Root without the capabilities that let it pass over permissions: to it, a folder of another user
# is what it is to anyone.
ANYONE = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
]
needs_setpriv = pytest.mark.skipif(shutil.which("setpriv") is None, reason="there is no setpriv")


def run(code: str, *prefix: str, cwd: Path = ROOT, **variables: str) -> str:
    """Runs the body of a command; it must end as a user's mistake. Returns its line."""
    lines = [
        "import os, sys, tempfile",
        "from pathlib import Path",
        "from submission.command_line import run_command_line",
        "def main():",
        *(f"    {line}" for line in code.splitlines()),
        "run_command_line(main)",
    ]
    result = subprocess.run(
        [*prefix, sys.executable, "-c", "\n".join(lines)],
        cwd=cwd,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    line = run(f"open({str(tmp_path / 'file' / 'scores.json')!r})")
    assert f"{tmp_path / 'file' / 'scores.json'} can't be used (Not a directory)" in line


@needs_root
def test_a_read_only_disk_is_named(tmp_path):
    with mounted(tmp_path / "disk", "ro") as disk:
        line = run(f"Path({str(disk / 'scratch')!r}).mkdir()")
        assert f"{disk / 'scratch'} can't be used (Read-only file system)" in line


@needs_root
@needs_setpriv
def test_another_users_folder_is_named(tmp_path):
    (tmp_path / "scratch").mkdir()
    os.chown(tmp_path / "scratch", 1001, 1001)
    line = run(f"open({str(tmp_path / 'scratch' / 'lock')!r}, 'w')", *ANYONE)
    assert f"{tmp_path / 'scratch' / 'lock'} can't be used (Permission denied)" in line


@needs_root
def test_a_temporary_folder_that_fills_up_is_named(tmp_path):
    with mounted(tmp_path / "disk", "size=64k") as disk:
        line = run(
            "file = tempfile.TemporaryFile()\nfile.write(bytes(2**20))\nfile.flush()",
            TMPDIR=str(disk),
        )
        assert f"no room on the disk of the temporary folder {disk}: " in line
        assert "TMPDIR" in line


@needs_root
def test_of_a_copy_to_a_full_temporary_folder_the_copy_is_named(tmp_path):
    (tmp_path / "model.pt").write_bytes(bytes(2**20))
    with mounted(tmp_path / "disk", "size=64k") as disk:
        line = run(
            "import shutil\n"
            "with tempfile.TemporaryDirectory() as folder:\n"
            f"    shutil.copyfile({str(tmp_path / 'model.pt')!r}, folder + '/model.pt')",
            TMPDIR=str(disk),
        )
        assert f"no room on the disk for {disk}/" in line
        assert "TMPDIR" in line
        assert os.listdir(disk) == []


@needs_root
def test_a_full_folder_where_the_command_runs_is_told(tmp_path):
    with mounted(tmp_path / "disk", "size=64k") as disk:
        line = run("file = open('x', 'wb')\nfile.write(bytes(2**20))", cwd=disk)
        assert "no room on the disk of this folder: " in line


def test_no_temporary_folder_at_all_is_told():
    line = run("tempfile._candidate_tempdir_list = lambda: ['/proc/1']\ntempfile.mkdtemp()")
    assert "No usable temporary directory found in ['/proc/1']: " in line
    assert "set TMPDIR to a folder of yours" in line


@pytest.mark.parametrize("code", ["open('/nowhere')", "os.kill(2**22 + 1, 0)", "{}['x']"])
def test_any_other_error_keeps_its_traceback(code):
    command = (
        f"import os; from submission.command_line import run_command_line as r; r(lambda: {code})"
    )
    result = subprocess.run(
        [sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr
