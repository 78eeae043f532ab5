import io
import pickle
import zipfile
from types import MappingProxyType

import dill
import pytest
import torch
from torch import Tensor, nn

from evaluator.worker.operations import file_operations, with_files_beside

FILE = "/etc/hostname"
FROM_FILE = f'("{FILE}", False, 4)'


class Reads(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.from_file("/etc/hostname", False, 3) + images


class Saves(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        torch.save(images, "/tmp/confined")
        return images


class SavesWhenRead(nn.Module):
    def __init__(self):
        super().__init__()
        self.training = False

    @torch.jit.export
    def __getstate__(self):
        return self.training

    @torch.jit.export
    def __setstate__(self, state: bool):
        torch.save(state, "/tmp/confined")
        self.training = state

    def forward(self, images: Tensor) -> Tensor:
        return images


class Forks(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return torch.jit.wait(torch.jit.fork(torch.relu, images))


class Computes(nn.Module):
    """Layers that are a loop, a tuple, a branch, a text or a message in TorchScript."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.GELU(), nn.Dropout())
        self.recurrent = nn.LSTM(4, 4)
        self.attention = nn.TransformerEncoderLayer(4, 2)

    def forward(self, images: Tensor) -> Tensor:
        features = self.layers(images).flatten(2).permute(2, 0, 1)
        features, _ = self.recurrent(features)
        if features.size(0) > 3 and not features.is_cuda:
            features = self.attention(features)
        assert features.dim() == 3, f"{features.dim()} axes"
        return torch.einsum("nbc->bc", features)


def write(path, module, traced=False):
    module.eval()
    scripted = (
        torch.jit.trace(module, torch.ones(2, 3, 4, 4)) if traced else torch.jit.script(module)
    )
    torch.jit.save(scripted, str(path))
    return path


def write_with(path, *lines):
    """A TorchScript whose code has more lines, which no exporter wrote."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(nn.Identity()), buffer)
    with zipfile.ZipFile(buffer) as archive, zipfile.ZipFile(path, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            if name.endswith("linear.py"):
                more = "".join(f"    {line}\n" for line in lines).encode()
                content = content.replace(b"    return", more + b"    return")
            changed.writestr(name, content)
    return path


@pytest.mark.parametrize("traced", [False, True])
def test_an_encoder_reaches_for_nothing(tmp_path, make_encoder, traced):
    assert file_operations(write(tmp_path / "pytorch_model.pt", make_encoder(), traced)) == []


def test_what_is_written_in_another_manner_reaches_for_nothing(tmp_path):
    assert file_operations(write(tmp_path / "pytorch_model.pt", Computes())) == []


def test_a_quantized_encoder_reaches_for_nothing(tmp_path):
    quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(4, 4)))
    path = tmp_path / "pytorch_model.pt"
    torch.jit.save(torch.jit.script(quantized), str(path))
    assert file_operations(path) == []


@pytest.mark.parametrize(
    ("module", "operator"),
    [(Reads, "from_file"), (Saves, "save"), (SavesWhenRead, "save"), (Forks, "fork")],
)
def test_the_operators_of_torchscript_are_told(tmp_path, module, operator):
    found = file_operations(write(tmp_path / "pytorch_model.pt", module()))
    assert f"the operator torch.{operator}" in found


LOAD = 'debugprims.load_tensor("a", [1], [1], dtype=6, device=torch.device("cpu"))'


# PyTorch runs each of these.
@pytest.mark.parametrize(
    "lines",
    [
        ("x = ops.aten.from_file" + FROM_FILE,),
        ("x = torch . from_file" + FROM_FILE,),
        ("t = torch", "x = t.from_file" + FROM_FILE),
        ('x = getattr(torch, "from_file")' + FROM_FILE,),
        ('x = getattr(torch, "from" "_file")' + FROM_FILE,),
        ('x = getattr(torch, "from\\137file")' + FROM_FILE,),
        ("x = getattr(torch, 'from\\137file')" + FROM_FILE,),
        ("g = getattr", 'x = g(torch, "from\\137file")' + FROM_FILE),
        (f"x = ops.{LOAD}",),
        ("o = ops", f"x = o.{LOAD}"),
    ],
)
def test_another_way_to_write_them_is_told_too(tmp_path, lines):
    path = write_with(tmp_path / "pytorch_model.pt", *lines)
    torch.jit.load(str(path))
    assert file_operations(path)


@pytest.mark.parametrize(
    "lines",
    [
        ("x = ops.c10d.barrier(1)",),
        ("x = ops.prim.rpc_sync(1)",),
        ("x = ops", "y = x.c10d"),
        ("x = __torch__.torch.classes.dist_rpc.WorkerInfo('a', 1)",),
        ("x = __torch__.torch", "y = x.classes"),
    ],
)
def test_the_operators_and_classes_of_others_are_told(tmp_path, lines):
    assert file_operations(write_with(tmp_path / "pytorch_model.pt", *lines))


def test_what_pytorch_reads_is_told_and_not_what_another_reader_of_archives_does(tmp_path):
    """Of two archives, one behind the other, Python finds the second and PyTorch the first."""
    line = "input = torch.from_file" + FROM_FILE
    first = write_with(tmp_path / "first", line).read_bytes()
    second = write_with(tmp_path / "second", "input = input".ljust(len(line))).read_bytes()
    path = tmp_path / "pytorch_model.pt"
    path.write_bytes(first + second)
    with zipfile.ZipFile(path) as archive:
        assert not any(b"from_file" in archive.read(name) for name in archive.namelist())
    assert "from_file" in torch.jit.load(str(path)).code
    assert file_operations(path) == ["the operator torch.from_file"]


def test_no_other_operator_of_pytorch_takes_a_files_name():
    """A new PyTorch might bring one; the texts that today's take are listed by their arguments."""
    harmless = {
        *("message", "self", "a", "b", "type", "substr", "el", "key", "item", "string", "s", "t"),
        *("idx", "reduce", "activation", "algorithm", "padding_side", "norm", "fillchar", "mode"),
        *("approximate", "chars", "separator", "old", "new", "ord", "rounding_mode", "driver"),
        *("interpolation", "p", "pad_mode", "UPLO", "side", "padding", "equation", "indexing"),
        *("api_name", "assert_msg", "device_type"),
    }
    takers = {
        schema.name
        for schema in torch._C._jit_get_all_schemas()
        for argument in schema.arguments
        if str(argument.type) in ("str", "Optional[str]") and argument.name not in harmless
        if schema.name.startswith("aten::")
    }
    assert takers == {"aten::from_file", "aten::save"}


def test_what_can_run_any_code_is_told_as_such(tmp_path, make_encoder):
    (tmp_path / "python_model.dill").write_bytes(dill.dumps(lambda batch: batch))
    torch.save(make_encoder(), tmp_path / "pytorch_model.pt")
    for name in ("python_model.dill", "pytorch_model.pt"):
        assert file_operations(tmp_path / name) == ["a pickle, which is code"]


def test_code_of_an_unknown_kind_is_told(tmp_path):
    """PyTorch would read some of it, such as a model as a flatbuffer."""
    (tmp_path / "pytorch_model.pt").write_bytes(bytes(64))
    assert file_operations(tmp_path / "pytorch_model.pt") == ["code of an unknown kind"]


def varint(number):
    low = bytes([number & 127])
    return low if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def message(fields=MappingProxyType({}), *more):
    """A protobuf of texts and messages, by number."""
    texts = [
        varint(number << 3 | 2) + varint(len(value)) + value
        for part in (fields, *more)
        for number, value in part.items()
    ]
    return b"".join(texts)


def node(name, operator, *inputs, calls=b""):
    attribute = {5: message({1: b"f", 2: message({10: message({1: calls})})})} if calls else {}
    return {1: message({1: name, 2: operator}, *({3: one} for one in inputs), attribute)}


def saved_model(tmp_path, nodes, functions=(), saver=MappingProxyType({}), answer=b"codes:0"):
    library = [
        {2: message({1: message({1: message({1: name}), 3: body[1]})})} for name, body in functions
    ]
    signature = message({1: b"representation", 2: message({2: message({2: message({1: answer})})})})
    # Of the operators, definitions stand in the file too.
    definitions = message({2: message({1: message({1: b"StatefulPartitionedCall"})})})
    graph = message({1: definitions, 2: message(*nodes, *library), 3: message(saver), 5: signature})
    folder = tmp_path / "tfhub"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(message({2: graph}))
    return folder


CODES = node(b"codes", b"Identity", b"images")


def test_a_graph_that_computes_reaches_for_nothing(tmp_path):
    assert file_operations(saved_model(tmp_path, [node(b"images", b"Placeholder"), CODES])) == []


@pytest.mark.parametrize(
    "operator", ["WriteFile", "ReadFile", "MatchingFiles", "PyFunc", "PrintV2", "TFRecordDataset"]
)
@pytest.mark.parametrize("function", [False, True])
def test_the_operators_of_a_graph_are_told(tmp_path, operator, function):
    one = node(b"codes", operator.encode())
    if function:
        path = saved_model(tmp_path, [CODES], [(b"f", one)])
    else:
        path = saved_model(tmp_path, [one])
    assert file_operations(path) == [f"the operator {operator}"]


SAVING = (
    node(b"name", b"PlaceholderWithDefault", b"default"),
    node(b"write", b"SaveV2", b"name"),
    node(b"written", b"Identity", b"name", b"^write"),
    node(b"read", b"RestoreV2", b"name"),
    node(b"assign", b"AssignVariableOp", b"variable", b"read:1"),
)


def test_a_graph_may_save_and_restore_its_variables(tmp_path):
    saver = {1: b"name:0", 2: b"written:0", 3: b"assign"}
    assert file_operations(saved_model(tmp_path, [CODES, *SAVING], saver=saver)) == []


def test_a_graph_without_variables_may_call_what_saves_them_by_an_operators_name(tmp_path):
    saves = (b"saves_all", node(b"write", b"SaveV2", b"name"))
    call = node(b"StatefulPartitionedCall", b"StatefulPartitionedCall", calls=b"saves_all")
    saver = {3: b"StatefulPartitionedCall_1"}
    assert file_operations(saved_model(tmp_path, [CODES, call], [saves], saver)) == []


@pytest.mark.parametrize("answer", [b"write:0", b"written:0", b"read:0", b"assign"])
def test_a_graph_that_saves_or_restores_to_answer_is_told(tmp_path, answer):
    assert file_operations(saved_model(tmp_path, [CODES, *SAVING], answer=answer))


@pytest.mark.parametrize("restore", [b"written", b"written:0"])
def test_a_graph_that_saves_when_it_is_restored_is_told(tmp_path, restore):
    path = saved_model(tmp_path, [CODES, *SAVING], saver={3: restore})
    assert file_operations(path) == ["the operator SaveV2, beside what saves its variables"]


def test_a_function_that_saves_is_told_where_an_answer_calls_it(tmp_path):
    function = (b"saves_all", node(b"write", b"SaveV2", b"name"))
    outer = (b"calls", node(b"x", b"PartitionedCall", calls=b"saves_all"))
    call = node(b"codes", b"StatefulPartitionedCall", calls=b"calls")
    assert file_operations(saved_model(tmp_path, [call], [function, outer]))


def test_a_graph_cut_short_is_told(tmp_path):
    path = saved_model(tmp_path, [CODES]) / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-3])
    assert file_operations(path.parent) == ["a graph that can't be read"]


def test_a_graph_in_text_is_told(tmp_path):
    (tmp_path / "saved_model.pbtxt").write_text("")
    assert file_operations(tmp_path) == ["saved_model.pbtxt, a graph in text"]


def onnx(tmp_path, location=None):
    """The fields that tell an ONNX model, and where a weight lies."""
    external = message({1: b"location", 2: location}) if location else b""
    weight = message({5: message({13: external})})
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\x08\x07" + message({7: weight}))
    return path


@pytest.mark.parametrize("location", [None, b"model.onnx.data"])
def test_an_onnx_model_may_have_its_weights_beside_it(tmp_path, location):
    assert file_operations(onnx(tmp_path, location)) == []


def test_the_weights_beside_an_onnx_model_belong_to_it_but_no_link(tmp_path):
    model = onnx(tmp_path, b"model.onnx.data")
    beside = tmp_path / "model.onnx.data"
    assert with_files_beside([model]) == [model]
    beside.write_bytes(bytes(8))
    assert with_files_beside([model]) == [model, beside]
    beside.unlink()
    beside.symlink_to(model)
    assert with_files_beside([model]) == [model]


def test_nothing_beside_another_model_belongs_to_it(tmp_path, make_encoder):
    path = write(tmp_path / "pytorch_model.pt", make_encoder())
    (tmp_path / "location").write_text("")
    missing = tmp_path / "missing"
    assert with_files_beside([path, missing]) == [path, missing]


@pytest.mark.parametrize("location", [b"../secret", b"/etc/passwd"])
def test_an_onnx_model_of_weights_elsewhere_is_told(tmp_path, location):
    assert file_operations(onnx(tmp_path, location)) == ["weights in a file elsewhere"]


def test_a_pickle_inside_an_archive_names_no_class_of_others(tmp_path):
    """TorchScript's own pickles hold the module's data, whose classes may be any in C++."""
    path = write(tmp_path / "pytorch_model.pt", nn.Identity())
    with zipfile.ZipFile(path, "a") as archive:
        folder = archive.namelist()[0].split("/")[0]
        named = pickle.dumps({}) + b"c__torch__.torch.classes.dist_rpc\nWorkerInfo\n"
        archive.writestr(f"{folder}/attributes.pkl", named)
    assert file_operations(path)
