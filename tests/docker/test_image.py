"""The image that is built from the Dockerfile."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from docker.errors import ImageNotFound

from container import image
from submission.errors import UserError

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]
CHECKOUT = "; scores are computed in it alone: run `python docker/portal.py build`"


class NoImages:
    """An engine that has none."""

    def get(self, tag):
        raise ImageNotFound(tag)

    @property
    def images(self):
        return self


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (None, "this checkout's image isn't built"),
        ("{", "this checkout's image isn't built"),
        ("{}", "the code has changed since this checkout's image was built"),
        (
            '{"sources": "of yesterday"}',
            "the code has changed since this checkout's image was built",
        ),
    ],
)
def test_without_this_checkouts_image_nothing_is_scored(monkeypatch, tmp_path, record, told):
    monkeypatch.setattr(image, "_RECORD", tmp_path / "image.json")
    if record is not None:
        (tmp_path / "image.json").write_text(record)
    with pytest.raises(UserError) as caught:
        image.of_checkout(NoImages())
    assert str(caught.value) == told + CHECKOUT


@pytest.fixture
def inside(client, built):
    """Runs a shell command in the image; returns what it prints."""

    def run(command: str) -> str:
        answer = client.containers.run(
            built, entrypoint=["bash", "-c", command], network_mode="none", remove=True
        )
        return answer.decode().strip()

    return run


@pytest.mark.slow
def test_an_image_that_was_built_and_removed_is_told(built):
    with pytest.raises(UserError) as caught:
        image.of_checkout(NoImages())
    assert str(caught.value) == f"the Docker engine hasn't this checkout's image{CHECKOUT}"


@pytest.mark.slow
def test_user_entry_point_labels_and_health_check(client, built):
    config = client.images.get(built).attrs["Config"]
    assert config["User"] == "aicrowd"
    assert config["Entrypoint"] == ["/home/aicrowd/run.sh"]
    assert config["WorkingDir"] == "/home/aicrowd"
    revision = config["Labels"]["org.opencontainers.image.revision"]
    assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", revision)
    assert config["Healthcheck"]["Test"][0] == "CMD-SHELL"


@pytest.mark.slow
def test_aicrowd_has_uid_1001_and_owns_no_code(inside):
    assert inside("id -u && id -un") == "1001\naicrowd"
    assert inside("find /home/aicrowd /opt/venv -name '*.py' -writable | head") == ""


@pytest.mark.slow
def test_the_cpu_image_is_under_3_gigabytes(client, built, inside):
    if "+cpu" not in inside("python -c 'import torch; print(torch.__version__)'"):
        pytest.skip("built with CUDA")
    assert client.images.get(built).attrs["Size"] < 3e9


@pytest.mark.slow
def test_no_compiler_no_cache_no_pip_and_no_tests_inside(inside):
    for program in ("gcc", "g++", "cc", "clang", "make", "pip", "git"):
        assert inside(f"command -v {program} || true") == ""
    assert inside("ls ~/.cache /root/.cache 2>/dev/null || true") == ""
    found = inside("find / -xdev -type d -name tests -path '*site-packages*' || true")
    assert found.endswith("/site-packages/numpy/_core/tests")
    assert inside("ls -A") == inside("echo '.bash_logout\n.bashrc\n.profile'") + (
        "\naicrowd.json\nevaluator\ngin\nrun.sh\nscratch\nsubmission"
    )


@pytest.mark.slow
def test_tensorflow_stands_once(inside):
    listed = inside("ls /opt/venv/lib/python3*/site-packages | grep -i '^tensorflow.*dist-info'")
    assert len(listed.splitlines()) == 1
    assert inside("find / -xdev -name 'libtensorflow_cc*' -not -type l | wc -l") == "1"


@pytest.mark.slow
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


@pytest.mark.slow
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
    image.build(client, tag, image.default_arguments(), image.default_network(), tmp_path)
    try:
        before, after = (client.images.get(one).attrs["RootFS"]["Layers"] for one in (built, tag))
        same = sum(one == other for one, other in zip(before, after, strict=True))
        # All but the code itself and its bytecode.
        assert len(before) - same <= 3
    finally:
        client.images.remove(tag)


@pytest.mark.slow
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
