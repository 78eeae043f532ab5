"""What can be wrong with an engine: one clear line each, and exit code 2."""

import contextlib
import os
import shutil
import socket
import subprocess
import time

import docker
import pytest

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
    if "nvidia" in client.info()["Runtimes"]:
        pytest.skip("there is one")
    error = bare_portal("simulate", "--gpu", "yes").error
    assert error.startswith("--gpu yes: this Docker engine has no NVIDIA runtime; install ")


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
    import image

    from submission.errors import UserError

    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY large /large\n")
    with (context / "large").open("wb") as file:
        file.truncate(100 * 2**20)
    with small_disk(tmp_path / "disk", "128m") as disk, _engine(disk, tmp_path) as where:
        client = docker.DockerClient(where)
        import engine

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
