import hashlib
import pickle
import zipfile
from pathlib import Path
from types import MappingProxyType

import dill
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from evaluator import formats, representations
from evaluator.codes import why_no_table
from evaluator.compat import load_tensorflow
from evaluator.formats import DILL, EXPORTED, ONNX, PYTORCH, TFHUB
from evaluator.udr import Settings, draw_codes
from submission.errors import UserError
from tests.evaluator.reading import read_representation


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "representation").mkdir()
    return tmp_path / "representation"


@pytest.fixture
def images(ground_truth):
    return ground_truth.sample_observations(10, np.random.RandomState(5))


WEIGHTS = np.random.RandomState(2).randn(48, 3).astype(np.float32)


def write_hub_module(path: Path, side: int = 4, signature: str = "representation") -> None:
    """What tensorflow_hub 0.15 exports: a graph without tags, and two bytes naming the format."""
    v1 = load_tensorflow().compat.v1
    with v1.Graph().as_default(), v1.Session() as session:
        images = v1.placeholder(v1.float32, [None, side, side, 3])
        weights = v1.get_variable("weights", initializer=WEIGHTS)
        codes = v1.matmul(v1.reshape(images, [-1, 48]), weights)
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        builder.add_meta_graph_and_variables(
            session,
            tags=[],
            signature_def_map={
                signature: v1.saved_model.predict_signature_def(
                    {"images": images}, {"default": codes, "logvar": codes * 0}
                )
            },
        )
        builder.save()
    (path / "tfhub_module.pb").write_bytes(b"\x08\x03")


def write_saved_model(path: Path) -> None:
    tensorflow = load_tensorflow()
    module = tensorflow.Module()
    module.weights = tensorflow.Variable(WEIGHTS)

    @tensorflow.function(
        input_signature=[tensorflow.TensorSpec([None, 4, 4, 3], tensorflow.float32, "images")]
    )
    def represent(images):
        return {"default": tensorflow.reshape(images, [-1, 48]) @ module.weights}

    tensorflow.saved_model.save(module, str(path), signatures={"representation": represent})


def assert_refused(folder, ground_truth, *fragments, allow_pickle=False):
    with pytest.raises(UserError) as caught:
        read_representation(folder, ground_truth, allow_pickle)
    message = str(caught.value)
    assert "\n" not in message
    assert str(folder) in message
    for fragment in fragments:
        assert fragment in message


# The three formats


@pytest.mark.parametrize("write", [write_hub_module, write_saved_model])
def test_a_tensorflow_model_gives_the_codes_of_its_signature(folder, ground_truth, images, write):
    write(folder / TFHUB)
    representation = read_representation(folder, ground_truth)
    assert representation.latents == 3
    assert representation.path == folder / TFHUB
    expected = images.astype(np.float32).reshape(10, 48) @ WEIGHTS
    np.testing.assert_allclose(representation.encode(images), expected, rtol=1e-5, atol=1e-5)


def test_torchscript_gets_channels_first_float32(
    ground_truth, images, write_torchscript, make_encoder
):
    encoder = make_encoder()
    representation = read_representation(write_torchscript(encoder), ground_truth)
    with torch.no_grad():
        expected = encoder(torch.from_numpy(images.transpose(0, 3, 1, 2)).float()).numpy()
    np.testing.assert_allclose(representation.encode(images), expected, rtol=1e-5, atol=1e-6)
    assert representation.latents == 6
    assert representation.repeatable


def test_a_traced_module_is_torchscript_too(folder, ground_truth, make_encoder):
    traced = torch.jit.trace(make_encoder(), torch.zeros(1, 3, 4, 4))
    torch.jit.save(traced, str(folder / PYTORCH))
    assert read_representation(folder, ground_truth).latents == 6


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickled_module_needs_the_flag(folder, ground_truth, images, make_encoder, zipped):
    encoder = make_encoder()
    # Before PyTorch 1.6, the challenge's, torch.save wrote a bare pickle.
    torch.save(encoder, folder / PYTORCH, _use_new_zipfile_serialization=zipped)
    assert_refused(folder, ground_truth, "--allow-pickle")
    codes = read_representation(folder, ground_truth, allow_pickle=True).encode(images)
    assert codes.shape == (10, 6)


def test_a_dilled_function_needs_the_flag_and_gets_channels_first(folder, ground_truth, images):
    (folder / DILL).write_bytes(dill.dumps(lambda batch: batch[:, :, 1, 2] * 2.0))
    assert_refused(folder, ground_truth, "--allow-pickle")
    representation = read_representation(folder, ground_truth, allow_pickle=True)
    np.testing.assert_array_equal(representation.encode(images), images[:, 1, 2, :] * 2.0)


def test_without_the_flag_no_code_of_a_pickle_runs(folder, ground_truth, tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    for name in (PYTORCH, DILL):
        (folder / name).write_bytes(pickle.dumps(Payload()))
        with pytest.raises(UserError):
            read_representation(folder, ground_truth)
        (folder / name).unlink()
    assert not (tmp_path / "ran").exists()


def test_tfhub_precedes_pytorch_and_pytorch_precedes_dill(folder):
    (folder / DILL).write_bytes(dill.dumps(len))
    assert formats.find(folder, allow_pickle=True).name == DILL
    (folder / PYTORCH).write_bytes(b"no pickle")
    assert formats.find(folder).name == PYTORCH
    (folder / TFHUB).mkdir()
    (folder / TFHUB / "saved_model.pb").touch()
    assert formats.find(folder).name == TFHUB


@pytest.mark.parametrize("training", [False, True])
def test_the_fast_way_computes_what_the_module_does(ground_truth, write_torchscript, training):
    module = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 5))
    representation = read_representation(write_torchscript(module.train(training)), ground_truth)
    pixels = np.random.RandomState(0).randint(0, 256, (16, 4, 4, 3)).astype(np.uint8)
    np.testing.assert_allclose(
        representation.encode_pixels(pixels, 255), representation.encode(pixels / 255), atol=1e-6
    )


def test_a_module_runs_in_the_mode_it_was_saved_in(ground_truth, write_torchscript):
    dropout = nn.Sequential(nn.Flatten(), nn.Dropout(0.5))
    assert not read_representation(write_torchscript(dropout), ground_truth).repeatable
    assert read_representation(write_torchscript(dropout.eval()), ground_truth).repeatable


# Models that change what they are given, or what they gave


class InPlace(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        images.mul_(2).sub_(1)
        return images.mean((2, 3))


class SameTensor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.answer = torch.zeros(256, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer[: len(images)].copy_(images.mean((2, 3)))


def double(batch):
    batch *= 2
    return batch.mean((2, 3))


@pytest.mark.parametrize("module", [InPlace, SameTensor])
def test_a_module_that_works_in_place_is_a_function_of_the_image(
    ground_truth, write_torchscript, module
):
    representation = read_representation(write_torchscript(module()), ground_truth)
    assert representation.repeatable
    assert why_no_table(ground_truth, representation) is None


def test_a_dilled_function_that_works_in_place_leaves_the_images_alone(
    folder, ground_truth, images
):
    (folder / DILL).write_bytes(dill.dumps(double, recurse=True))
    representation = read_representation(folder, ground_truth, allow_pickle=True)
    before = images.copy()
    np.testing.assert_allclose(representation.encode(images), 2 * before.mean((1, 2)), rtol=1e-5)
    np.testing.assert_array_equal(images, before)
    assert representation.repeatable


def test_udr_shows_every_model_the_same_images(ground_truth, write_torchscript):
    changing = read_representation(write_torchscript(InPlace()), ground_truth).encode
    first, second = draw_codes(ground_truth, [changing, changing], Settings(30, 10, 0, 0), 0)
    np.testing.assert_array_equal(first, second)


# Formats of later years


@pytest.fixture
def flattened(make_encoder, images):
    """A network, and its codes of the images."""
    encoder = make_encoder()
    with torch.no_grad():
        return encoder, encoder(torch.from_numpy(images.transpose(0, 3, 1, 2)).float()).numpy()


def write_exported(network: nn.Module, path: Path, dtype: torch.dtype = torch.float32) -> None:
    example = (torch.zeros(2, 3, 4, 4, dtype=dtype),)
    shapes = ({0: torch.export.Dim("n")},)
    with path.open("wb") as file:
        torch.export.save(torch.export.export(network, example, dynamic_shapes=shapes), file)


def write_onnx(network: nn.Module, path: Path, axes=MappingProxyType({"images": {0: "n"}})) -> None:
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 4, 4, dtype=next(network.parameters()).dtype),),
        str(path),
        dynamo=False,
        input_names=["images"],
        dynamic_axes=dict(axes),
    )


@pytest.mark.parametrize("name", [EXPORTED, PYTORCH])
def test_an_exported_program_is_read_with_the_flag(folder, ground_truth, images, flattened, name):
    encoder, expected = flattened
    write_exported(encoder, folder / name)
    # torch.export.load says of itself that it uses pickle.
    assert_refused(folder, ground_truth, "--allow-pickle")
    representation = read_representation(folder, ground_truth, allow_pickle=True)
    np.testing.assert_allclose(representation.encode(images), expected, rtol=1e-5, atol=1e-6)
    assert representation.repeatable


@pytest.mark.parametrize("name", [ONNX, PYTORCH])
def test_an_onnx_model_is_read(folder, ground_truth, images, flattened, name):
    encoder, expected = flattened
    write_onnx(encoder, folder / name)
    representation = read_representation(folder, ground_truth)
    np.testing.assert_allclose(representation.encode(images), expected, rtol=1e-4, atol=1e-5)
    assert representation.repeatable


def test_the_challenges_formats_precede_the_later_ones(folder, flattened):
    write_onnx(flattened[0], folder / ONNX)
    assert formats.find(folder).name == ONNX
    write_exported(flattened[0], folder / EXPORTED)
    assert formats.find(folder, allow_pickle=True).name == EXPORTED
    (folder / DILL).write_bytes(dill.dumps(len))
    assert formats.find(folder, allow_pickle=True).name == DILL


def test_an_exported_program_of_a_fixed_batch_is_told(folder, ground_truth, make_encoder):
    program = torch.export.export(make_encoder(), (torch.zeros(2, 3, 4, 4),))
    with (folder / EXPORTED).open("wb") as file:
        torch.export.save(program, file)
    assert_refused(folder, ground_truth, "batches of 2", "dynamic_shapes", allow_pickle=True)


def test_an_onnx_model_of_a_fixed_batch_is_told(folder, ground_truth, make_encoder):
    write_onnx(make_encoder(), folder / ONNX, axes={})
    assert_refused(folder, ground_truth, "batches of 2", "dynamic_axes={'images': {0: 'n'}}")


def test_an_onnx_model_of_several_outputs_is_told(folder, ground_truth):
    class Posterior(nn.Linear):
        def forward(self, images: Tensor):
            codes = super().forward(images.flatten(1))
            return codes, codes.exp()

    write_onnx(Posterior(48, 3), folder / ONNX)
    assert_refused(folder, ground_truth, "one batch of images to one tensor")


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        (PYTORCH, torch.float64),
        (PYTORCH, torch.float16),
        (EXPORTED, torch.float64),
        (EXPORTED, torch.float16),
        # onnxruntime has no convolution of float64.
        (ONNX, torch.float16),
    ],
)
def test_images_are_given_in_the_precision_of_the_weights(
    folder, ground_truth, images, flattened, name, dtype
):
    encoder, expected = flattened
    encoder = encoder.to(dtype)
    if name == PYTORCH:
        torch.jit.save(torch.jit.script(encoder), str(folder / name))
    elif name == EXPORTED:
        write_exported(encoder, folder / name, dtype)
    else:
        write_onnx(encoder, folder / name)
    representation = read_representation(folder, ground_truth, allow_pickle=True)
    np.testing.assert_allclose(representation.encode(images), expected, rtol=0.01, atol=0.01)


def test_a_network_that_views_its_features_as_rows_is_read(ground_truth, images, write_torchscript):
    class Views(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv2d(3, 4, 3, 1, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.convolution(images.mul_(2)).view(len(images), -1)

    network = Views()
    representation = read_representation(write_torchscript(network), ground_truth)
    with torch.no_grad():
        expected = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).float()).numpy()
    np.testing.assert_allclose(representation.encode(images), expected, rtol=1e-5, atol=1e-6)


def normalising() -> nn.Module:
    layers = nn.Conv2d(3, 4, 3, 1, 1), nn.BatchNorm2d(4), nn.Dropout(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(64, 5))


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("form", ["script", "trace", "pickle", "export"])
def test_layers_left_in_training_mode_are_told(folder, ground_truth, training, form):
    network = normalising().train(training)
    name = EXPORTED if form == "export" else PYTORCH
    if form == "script":
        torch.jit.save(torch.jit.script(network), str(folder / name))
    elif form == "trace":
        traced = torch.jit.trace(network, torch.zeros(2, 3, 4, 4), check_trace=False)
        torch.jit.save(traced, str(folder / name))
    elif form == "pickle":
        torch.save(network, folder / name)
    else:
        write_exported(network, folder / name)
    told = "; ".join(read_representation(folder, ground_truth, allow_pickle=True).warnings)
    assert ("call eval()" in told) == training
    layers = ("batch_norm", "dropout") if form == "export" else ("BatchNorm2d", "Dropout")
    assert all((layer in told) == training for layer in layers)


def test_a_module_that_names_a_gpu_is_told(ground_truth, write_torchscript):
    class OnGpu(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) + torch.zeros(3, device="cuda:0")

    assert_refused(write_torchscript(OnGpu()), ground_truth, "names a GPU", "model.cpu().eval()")


def test_an_exported_program_of_a_gpu_is_told(folder, ground_truth, flattened):
    write_exported(flattened[0], folder / "cpu")
    # What torch.export.save writes on a GPU differs in this.
    with (
        zipfile.ZipFile(folder / "cpu") as source,
        zipfile.ZipFile(folder / EXPORTED, "w") as target,
    ):
        for name in source.namelist():
            content = source.read(name)
            if name.endswith(".json"):
                content = content.replace(b'"type": "cpu"', b'"type": "cuda", "index": 0')
            target.writestr(name, content)
    assert_refused(folder, ground_truth, "names a GPU", allow_pickle=True)


def test_a_saved_model_that_keras_exports_is_read(folder, ground_truth, images):
    tensorflow = load_tensorflow()
    module = tensorflow.Module()
    module.weights = tensorflow.Variable(WEIGHTS)
    wanted = tensorflow.TensorSpec([None, 4, 4, 3], tensorflow.float32, "keras_tensor")

    @tensorflow.function(input_signature=[wanted])
    def serve(keras_tensor):
        return tensorflow.reshape(keras_tensor, [-1, 48]) @ module.weights

    tensorflow.saved_model.save(module, str(folder / TFHUB), signatures=serve)
    representation = read_representation(folder, ground_truth)
    expected = images.astype(np.float32).reshape(10, 48) @ WEIGHTS
    np.testing.assert_allclose(representation.encode(images), expected, rtol=1e-5, atol=1e-5)


def test_the_hub_module_of_a_trained_model_is_told(folder, ground_truth):
    write_hub_module(folder / TFHUB, signature="gaussian_encoder")
    assert_refused(folder, ground_truth, "['gaussian_encoder']: it is the trained model")


# What is given in place of the representation folder


def test_a_runs_folder_leads_to_its_representation(write_torchscript, make_encoder):
    folder = write_torchscript(make_encoder())
    assert formats.find(folder.parent) == folder / PYTORCH


def test_a_file_of_a_formats_name_is_the_representation_whatever_stands_beside_it(
    write_torchscript, make_encoder
):
    folder = write_torchscript(make_encoder())
    write_saved_model(folder / TFHUB)
    assert formats.find(folder / PYTORCH) == folder / PYTORCH
    assert formats.find(folder / TFHUB) == folder / TFHUB


def test_a_file_of_another_name_is_told_what_it_is(folder, ground_truth, flattened):
    write_onnx(flattened[0], folder / "encoder.onnx")
    assert_refused(folder / "encoder.onnx", ground_truth, "an ONNX model: call it model.onnx")
    assert_refused(folder, ground_truth, "holds none of", "if encoder.onnx is the model, rename it")
    torch.save(flattened[0].state_dict(), folder / "checkpoint.pt")
    assert_refused(folder / "checkpoint.pt", ground_truth, "holds a state_dict")


def test_a_saved_model_of_another_name_is_told(folder, ground_truth):
    write_saved_model(folder / "exported")
    assert_refused(folder / "exported", ground_truth, "a SavedModel: call it tfhub")


def test_a_model_under_another_formats_name_is_told(folder, ground_truth, flattened):
    write_onnx(flattened[0], folder / DILL)
    assert_refused(folder, ground_truth, "it is an ONNX model, whose place is model.onnx")


def test_a_folder_in_place_of_a_file_is_told(folder, ground_truth):
    (folder / PYTORCH).mkdir()
    assert_refused(folder, ground_truth, "it is a folder without a saved_model.pb")


def test_a_link_to_nowhere_is_told(folder, ground_truth):
    (folder / PYTORCH).symlink_to("moved.pt")
    assert_refused(folder, ground_truth, "pytorch_model.pt can't be opened (No such file")


def test_a_file_in_place_of_a_folder_is_told(folder, ground_truth):
    (folder / TFHUB).write_bytes(b"\x1f\x8b")
    assert_refused(folder, ground_truth, "it is compressed with gzip: unpack it")


def test_a_state_dict_is_told_before_the_flag_is_asked_for(folder, ground_truth, make_encoder):
    torch.save(make_encoder().state_dict(), folder / PYTORCH)
    assert_refused(folder, ground_truth, "holds a state_dict")


# What is no representation


def test_a_missing_folder_is_told(tmp_path, ground_truth):
    assert_refused(tmp_path / "nowhere", ground_truth, "no representation folder")


def test_an_empty_folder_is_told(folder, ground_truth):
    assert_refused(folder, ground_truth, "holds none of", TFHUB, PYTORCH, DILL)


@pytest.mark.parametrize("content", [b"", b"no model", "half"])
def test_an_unreadable_torchscript_file_is_told(
    ground_truth, write_torchscript, make_encoder, content
):
    folder = write_torchscript(make_encoder())
    if content == "half":
        whole = (folder / PYTORCH).read_bytes()
        content = whole[: len(whole) // 2]
    (folder / PYTORCH).write_bytes(content)
    assert_refused(folder, ground_truth, "can't be read as TorchScript")


def test_a_truncated_dill_is_told(folder, ground_truth):
    (folder / DILL).write_bytes(dill.dumps(lambda batch: batch)[:-20])
    assert_refused(folder, ground_truth, "can't be read as a dilled function", allow_pickle=True)


def test_a_dill_of_something_else_is_told(folder, ground_truth):
    (folder / DILL).write_bytes(dill.dumps([1, 2]))
    assert_refused(folder, ground_truth, "a list, not a function", allow_pickle=True)


def test_a_state_dict_is_told(folder, ground_truth, make_encoder):
    torch.save(make_encoder().state_dict(), folder / PYTORCH)
    assert_refused(folder, ground_truth, "OrderedDict, not a model", allow_pickle=True)


def test_an_empty_tfhub_folder_is_told(folder, ground_truth):
    (folder / TFHUB).mkdir()
    assert_refused(folder, ground_truth, "can't be read as a hub module")


def test_a_truncated_tfhub_module_is_told(folder, ground_truth):
    write_hub_module(folder / TFHUB)
    for file in (folder / TFHUB / "variables").glob("*.data*"):
        file.write_bytes(file.read_bytes()[:100])
    assert_refused(folder, ground_truth, "can't be read as a hub module")


def test_a_tfhub_module_without_the_signature_is_told(folder, ground_truth):
    write_hub_module(folder / TFHUB, signature="encode")
    assert_refused(folder, ground_truth, "no signature `representation`", "encode")


def test_a_tfhub_module_for_other_images_is_told(folder, ground_truth):
    write_hub_module(folder / TFHUB, side=8)
    assert_refused(folder, ground_truth, "(4 x 4, 3 channels)", "(None, 8, 8, 3)")


class Answer(nn.Module):
    """Answers a batch with what a function of the test's makes of it."""

    def __init__(self, answer) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, images: Tensor):
        return self.answer(images)


BAD_ANSWERS = {
    "NaN": (lambda x: x.mean((2, 3)) * float("nan"), "not finite"),
    "infinity": (lambda x: x.mean((2, 3)) / 0, "not finite"),
    "rank 1": (lambda x: x.mean((1, 2, 3)), "rank 1"),
    "rank 4": (lambda x: x, "rank 4"),
    "too few rows": (lambda x: x.mean((2, 3))[:-1], "returns 15 rows for a batch of 16 images"),
    "one row": (lambda x: x.reshape(1, -1), "returns 1 rows for a batch of 16 images"),
    "a fixed batch": (lambda x: x.reshape(16, -1), "returns 16 rows for a batch of 64 images"),
    "latents by batch": (
        lambda x: x.mean((1, 2, 3)).repeat(len(x), 1),
        "returns 64 latents for a batch of 64 images, after 16",
    ),
    "no latents": (lambda x: x[:, :0, 0, 0], "returns no latents"),
    "complex": (lambda x: torch.complex(x, x).mean((2, 3)), "complex64, not numbers"),
    "a tuple": (lambda x: (x.mean((2, 3)), x), "a tuple, not one tensor"),
    "a failure": (lambda x: x.reshape(7, 11), "fails on a batch of 16 images of spelled"),
}


@pytest.mark.parametrize("answer", BAD_ANSWERS)
def test_a_wrong_answer_is_told(folder, ground_truth, monkeypatch, answer):
    function, fragment = BAD_ANSWERS[answer]
    # Dill carries the module whole, lambda and all, as torch.save with its pickle couldn't.
    torch.save(Answer(function), folder / PYTORCH, pickle_module=dill)
    assert_refused(folder, ground_truth, fragment, allow_pickle=True)


def test_text_from_a_dilled_function_is_told(folder, ground_truth):
    answer = lambda batch: np.full((len(batch), 2), "code")  # noqa: E731
    (folder / DILL).write_bytes(dill.dumps(answer))
    assert_refused(folder, ground_truth, "not numbers", allow_pickle=True)


def test_a_list_from_a_dilled_function_is_told(folder, ground_truth):
    (folder / DILL).write_bytes(dill.dumps(lambda batch: batch[:, :, 0, 0].tolist()))
    assert_refused(folder, ground_truth, "a list, not a numpy array", allow_pickle=True)


def test_a_network_for_other_channels_is_told_what_the_data_set_gives(
    ground_truth, write_torchscript
):
    folder = write_torchscript(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten()))
    assert_refused(folder, ground_truth, "images of spelled (4 x 4, 3 channels)", "expected input")


def test_codes_that_turn_nan_during_a_metric_are_told(folder, ground_truth, images):
    (folder / DILL).write_bytes(dill.dumps(lambda batch: batch[:, :, 0, 0] / (len(batch) != 10)))
    representation = read_representation(folder, ground_truth, allow_pickle=True)
    with pytest.raises(UserError, match="not finite"), np.errstate(all="ignore"):
        representation.encode(images)


# Hashes


def test_the_hash_of_a_file_is_that_of_its_content(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert representations.sha256(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


def test_the_hash_of_a_folder_changes_with_names_and_contents(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "file").write_bytes(b"abc")
    first = representations.sha256(tmp_path)
    (tmp_path / "inner" / "file").write_bytes(b"abd")
    second = representations.sha256(tmp_path)
    (tmp_path / "inner" / "file").rename(tmp_path / "inner" / "other")
    assert len({first, second, representations.sha256(tmp_path)}) == 3
