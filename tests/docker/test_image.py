"""The image that is built from the Dockerfile."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from container import image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def inside(client, built):
    """Runs a shell command in the image; returns what it prints."""

    def run(command: str) -> str:
        answer = client.containers.run(
            built, entrypoint=["bash", "-c", command], network_mode="none", remove=True
        )
        return answer.decode().strip()

    return run


def test_user_entry_point_labels_and_health_check(client, built):
    config = client.images.get(built).attrs["Config"]
    assert config["User"] == "aicrowd"
    assert config["Entrypoint"] == ["/home/aicrowd/run.sh"]
    assert config["WorkingDir"] == "/home/aicrowd"
    label = "org.opencontainers.image."
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", config["Labels"][f"{label}revision"])
    assert config["Labels"][f"{label}version"] not in ("", "unknown")
    assert config["Healthcheck"]["Test"][0] == "CMD-SHELL"


def test_aicrowd_has_uid_1001_and_owns_no_code(inside):
    assert inside("id -u && id -un") == "1001\naicrowd"
    assert inside("find /home/aicrowd /opt/venv -name '*.py' -writable | head") == ""


def test_the_cpu_image_is_under_3_gigabytes(client, built, inside):
    if "+cpu" not in inside("python -c 'import torch; print(torch.__version__)'"):
        pytest.skip("built with CUDA")
    assert client.images.get(built).attrs["Size"] < 3e9


def test_no_compiler_no_cache_no_pip_and_no_tests_inside(inside):
    for program in ("gcc", "g++", "cc", "clang", "make", "pip", "git"):
        assert inside(f"command -v {program} || true") == ""
    assert inside("ls ~/.cache /root/.cache 2>/dev/null || true") == ""
    found = inside("find / -xdev -type d -name tests -path '*site-packages*' || true")
    assert found.endswith("/site-packages/numpy/_core/tests")
    assert inside("ls -A") == inside("echo '.bash_logout\n.bashrc\n.profile'") + (
        "\naicrowd.json\nevaluator\ngin\nrun.sh\nscratch\nsubmission"
    )


def test_tensorflow_stands_once(inside):
    listed = inside("ls /opt/venv/lib/python3*/site-packages | grep -i '^tensorflow.*dist-info'")
    assert len(listed.splitlines()) == 1
    assert inside("find / -xdev -name 'libtensorflow_cc*' -not -type l | wc -l") == "1"


def test_the_packages_are_those_of_the_lock(inside):
    locked = {
        line.split(" ")[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    command = "from importlib.metadata import distributions as d\n"
    command += "for x in d(): print(x.name.lower().replace('_', '-'), x.version, sep='==')"
    there = set(inside(f'python -c "{command}"').splitlines())
    names = {one.split("==")[0] for one in there}
    for one in locked - {"libclang==18.1.1"}:
        assert one in there or one.split("==")[0] not in names, one


def test_a_change_of_code_builds_no_dependency_anew(client, built, tmp_path):
    files = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    with (tmp_path / "submission/errors.py").open("a") as file:
        file.write("\n# a change\n")
    tag = "disentanglement-test-changed"
    arguments = image.default_arguments() | image.source_arguments()
    image.build(client, tag, arguments, image.default_network(), tmp_path)
    try:
        before, after = (client.images.get(one).attrs["RootFS"]["Layers"] for one in (built, tag))
        same = sum(one == other for one, other in zip(before, after, strict=True))
        # All but the code itself and its bytecode.
        assert len(before) - same <= 3
    finally:
        client.images.remove(tag)


def test_the_health_check_asks_for_an_output_that_can_be_written(client, built):
    check = client.images.get(built).attrs["Config"]["Healthcheck"]["Test"][1]
    for environment, code in (({}, 0), ({"AICROWD_OUTPUT_PATH": "/proc"}, 1)):
        container = client.containers.create(
            built,
            entrypoint=["sh", "-c", check],
            environment=environment,
            network_mode="none",
        )
        try:
            container.start()
            assert container.wait()["StatusCode"] == code
        finally:
            container.remove(force=True)
