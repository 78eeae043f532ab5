"""What can be wrong with an engine: one clear line each, and exit code 2."""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest
from docker.types import Mount

from container import engine, sandbox

pytestmark = pytest.mark.timeout(120)

needs_root = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which("dockerd"), reason="needs root, to mount and start engines"
)


@contextlib.contextmanager
def small_disk(folder, size):
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "small", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("command", ["build", "simulate", "check", "score /tmp"])
def test_no_engine(bare_portal, tmp_path, command):
    where = f"unix://{tmp_path}/none.sock"
    error = bare_portal(*command.split(), DOCKER_HOST=where).error
    assert error == (
        f"no Docker engine answers at {where}: start it (`sudo systemctl start docker`), or set "
        "DOCKER_HOST to where one listens"
    )


def test_an_engine_elsewhere_that_does_not_answer(bare_portal):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    error = bare_portal("build", DOCKER_HOST=f"tcp://127.0.0.1:{port}").error
    assert f"no Docker engine answers at tcp://127.0.0.1:{port}" in error


def test_no_permission_for_the_socket(bare_portal, tmp_path):
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        path.chmod(0)
        if os.getuid() == 0:
            # Root may use any socket; without the capability for that it is like anybody.
            os.chown(path, 12345, 12345)
            bare_portal.prefix = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
            bare_portal.prefix += ["--inh-caps=-dac_override,-dac_read_search"]
        error = bare_portal("build", DOCKER_HOST=f"unix://{path}").error
    assert error == (
        f"no permission for the Docker socket unix://{path}: run `sudo usermod -aG docker $USER`, "
        "then log in again"
    )


def write_context(folder, name, host, chosen=True):
    """A Docker configuration with one context, as `docker context create` and `use` leave it."""
    meta = folder / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest()
    meta.mkdir(parents=True)
    described = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}
    (meta / "meta.json").write_text(json.dumps(described))
    (folder / "config.json").write_text(json.dumps({"currentContext": name} if chosen else {}))


@pytest.fixture
def contexts(bare_portal, tmp_path):
    """The command with a Docker configuration of the test's."""
    bare_portal.environment.pop("DOCKER_HOST", None)
    bare_portal.environment["DOCKER_CONFIG"] = str(tmp_path / "config")
    (tmp_path / "config").mkdir()
    return tmp_path / "config"


def test_the_current_context_is_taken(bare_portal, contexts):
    write_context(contexts, "colima", f"unix://{contexts}/colima.sock")
    assert bare_portal("build").error.startswith(
        f"no Docker engine answers at unix://{contexts}/colima.sock (the Docker context colima): "
    )


def test_docker_context_goes_before_the_configuration(bare_portal, contexts):
    write_context(contexts, "rootless", f"unix://{contexts}/rootless.sock", chosen=False)
    error = bare_portal("build", DOCKER_CONTEXT="rootless").error
    assert f"{contexts}/rootless.sock (the Docker context rootless)" in error


def test_docker_host_goes_before_a_context(bare_portal, contexts):
    write_context(contexts, "colima", f"unix://{contexts}/colima.sock")
    error = bare_portal("build", DOCKER_HOST=f"unix://{contexts}/host.sock").error
    assert error.startswith(f"no Docker engine answers at unix://{contexts}/host.sock: ")


def test_a_context_that_is_not_there(bare_portal, contexts):
    assert bare_portal("build", DOCKER_CONTEXT="gone").error == (
        "there is no Docker context 'gone' (DOCKER_CONTEXT, or currentContext in "
        "~/.docker/config.json): `docker context ls` lists them"
    )


def test_a_damaged_context(bare_portal, contexts):
    write_context(contexts, "torn", "unix:///x")
    next(contexts.glob("contexts/meta/*/meta.json")).write_text("{")
    assert bare_portal("build").error.startswith("the Docker context 'torn' can't be read (")


def test_a_context_of_a_real_engine_is_used(client, bare_portal, contexts):
    write_context(contexts, "real", "unix:///var/run/docker.sock")
    assert "has no image disentanglement-absent" in bare_portal("simulate").error


@dataclass
class Informs:
    """An engine that says no more than what it is."""

    about: dict

    def info(self):
        return self.about


@pytest.mark.parametrize(
    "about",
    [
        {},
        {"Runtimes": None, "DiscoveredDevices": None, "SecurityOptions": None},
        {"Runtimes": {"runc": {}}, "DiscoveredDevices": [{"Source": "cdi", "ID": "x.com/nic=0"}]},
    ],
)
def test_an_engine_without_a_gpu(about):
    assert engine.gpu(Informs(about)) is None
    assert not engine.has_selinux(Informs(about))


def test_the_gpu_of_an_nvidia_runtime():
    asked = engine.gpu(Informs({"Runtimes": {"nvidia": {}, "runc": {}}}))
    assert (asked["Count"], asked["Capabilities"]) == (1, [["gpu"]])


def test_one_gpu_of_those_that_cdi_names():
    names = ["nvidia.com/gpu=all", "nvidia.com/gpu=1", "nvidia.com/gpu=0", "nvidia.com/gpu=GPU-1f"]
    devices = [{"Source": "cdi", "ID": name} for name in names]
    asked = engine.gpu(Informs({"Runtimes": {"runc": {}}, "DiscoveredDevices": devices}))
    assert (asked["Driver"], asked["DeviceIDs"]) == ("cdi", ["nvidia.com/gpu=0"])


def test_processors_are_not_limited_where_the_engine_refuses_it():
    assert sandbox.default_cpus(Informs({"NCPU": 4, "CpuCfsQuota": True})) == 4.0
    assert sandbox.default_cpus(Informs({"NCPU": 4, "CpuCfsQuota": False})) == 0.0


def test_limits_that_the_engine_only_seems_to_take_are_told(capsys):
    engine.tell_missing_limits(Informs({"MemoryLimit": True}))
    assert capsys.readouterr().out == ""
    engine.tell_missing_limits(Informs({"MemoryLimit": False, "PidsLimit": False}))
    told = "warning: this Docker engine can't limit a container's memory and processes\n"
    assert capsys.readouterr().out == told


def test_selinux_has_the_mounts_labelled():
    options = ["name=seccomp,profile=builtin", "name=selinux"]
    assert engine.has_selinux(Informs({"SecurityOptions": options}))
    shared = Mount("/SHARED", "volume", type="volume")
    job = sandbox.Job("test", "image", [], {}, {"/DATASET/x": Path("/data/x")}, [shared])
    assert sandbox.mounts(job, labelled=True) == {
        "mounts": [shared],
        "volumes": ["/data/x:/DATASET/x:ro,z"],
    }


@pytest.mark.parametrize("words", ["--time-limit soon", "--memory much", "--gpu maybe"])
def test_a_mistyped_option(client, bare_portal, words):
    error = bare_portal("simulate", *words.split()).error
    assert words.split()[0] in error
    assert words.split()[1] in error


@pytest.mark.slow
def test_a_base_image_that_cannot_be_pulled(client, bare_portal):
    base = "disentanglement-no-such-base:1"
    error = bare_portal("build", "--base-image", base).error
    assert error.startswith(f"the base image {base} can't be pulled (")
    assert error.endswith("name one that the engine has or can pull with --base-image")


@pytest.mark.slow
def test_an_image_that_is_not_there(client, bare_portal, data_set):
    assert bare_portal("simulate").error == (
        "the Docker engine has no image disentanglement-absent: build it with `python "
        "docker/portal.py build`"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "value", "told"), [("--cpus", 1000, "CPUs"), ("--memory", "1m", "memory")]
)
def test_limits_that_the_engine_refuses(portal, option, value, told):
    error = portal("simulate", option, value).error
    assert error.startswith("the Docker engine refuses: ")
    assert told in error


@pytest.mark.slow
def test_a_gpu_asked_for_and_not_there(client, bare_portal):
    if engine.gpu(client):
        pytest.skip("there is one")
    error = bare_portal("simulate", "--gpu", "yes").error
    assert error.startswith(
        "--gpu yes: this Docker engine has no NVIDIA runtime and no CDI device; "
    )


@pytest.mark.slow
@needs_root
def test_no_space_for_the_scores(portal, write_torchscript, pixels, tmp_path):
    folder = write_torchscript(pixels)
    with small_disk(tmp_path / "disk", "16k") as disk:
        given = ("--dataset", "mpi3d_mini", "--output", disk)
        error = portal("score", folder, *given, "--", "--metrics", "mig", "irs", "sap_score").error
    assert error.startswith("no room on the disk")


@pytest.mark.slow
@needs_root
def test_no_space_on_the_engines_disk(bare_portal, tmp_path):
    from container import image
    from submission.errors import UserError

    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY large /large\n")
    with (context / "large").open("wb") as file:
        file.truncate(100 * 2**20)
    with small_disk(tmp_path / "disk", "128m") as disk, _engine(disk, tmp_path) as where:
        client = docker.DockerClient(where)
        with pytest.raises(UserError) as caught, engine.errors_told():
            image.build(client, "too-large", {}, None, context)
        client.close()
    message = str(caught.value)
    assert message.startswith("no room on the Docker engine's disk (")
    assert "\n" not in message


@contextlib.contextmanager
def _engine(data, folder):
    """A second engine, whose images lie in a folder."""
    where = f"unix://{folder}/engine.sock"
    options = ("--bridge=none", "--iptables=false", "--ip6tables=false", f"--host={where}")
    paths = (f"--data-root={data}", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid")
    with (folder / "engine.log").open("w") as log:
        process = subprocess.Popen(["dockerd", *options, *paths], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "-H", where, "version"], capture_output=True).returncode:
            assert process.poll() is None, (folder / "engine.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield where
    finally:
        process.terminate()
        process.wait(timeout=60)
