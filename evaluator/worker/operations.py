"""What in a model's file reaches for files, processes or connections, told without running it.

Where nothing confines a model, it is refused by this. In TorchScript, TensorFlow and ONNX, all that
can be called has a name, so names tell; what isn't known to compute only counts as reaching out. A
pickle and what holds one can call anything by any way, so it is told as such.

It says nothing of mistakes in the libraries' own code, which a file may be made to meet.
"""

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from evaluator import file_kinds

# Of PyTorch's operators that stand in `torch`, the two that take a file's name, and what starts
# tasks. They can be called by any expression that leads to `torch`, so the names alone tell.
_OF_TORCH = re.compile(rb"(?<!\w)(from_file|save|fork|_fork|awaitable|rpc_\w+)(?!\w)")
# Operators of other libraries, which register theirs in namespaces of their own.
_OTHERS = re.compile(rb"(?<![\w.])ops(?!\w)[\w.]*")
_COMPUTING = re.compile(
    rb"ops\.((aten|quantized|_quantized|sparse|mkl|mkldnn|mkldnn_prepacked)\.\w+|prim\.("
    rb"EnumName|EnumValue|ModuleContainerIndex|NumToTensor|Print|RaiseException|StringIndex|"
    rb"TupleIndex|TupleUnpack|Uninitialized|abs|data|device|dtype|grad|id|index|is_\w+|"
    rb"itemsize|layout|max|min|name|nbytes|rangelist|requires_grad|tolist|type|unchecked_\w+))"
)
# Classes in C++; those of a file's own are code in it.
_CLASSES = re.compile(rb"(?<!\w)classes(?!\w)[\w.]*")
_COMPUTING_CLASSES = re.compile(rb"classes\.(quantized|sparse|mkldnn|xnnpack)(\.[\w.]*)?")
# The name that it asks for might be spelt in another way than by its letters.
_GETATTR = re.compile(rb"(?<!\w)getattr(?!\w)(\(\w+, \"[^\"\\]*\"\))?")

# Constants, variables, functions and their flow; shapes; elements; sums and products; layers;
# chance; and text, such as the names that variables are saved by.
_COMPUTING_OPERATORS = """
Const Placeholder PlaceholderV2 PlaceholderWithDefault Identity IdentityN NoOp StopGradient
PreventGradient CheckNumerics EnsureShape Snapshot VarHandleOp VarIsInitializedOp Variable
VariableV2 IsVariableInitialized ReadVariableOp AssignVariableOp AssignAddVariableOp
AssignSubVariableOp Assign AssignAdd AssignSub VariableShape DestroyResourceOp DisableCopyOnRead
ShardedFilename PartitionedCall StatefulPartitionedCall If StatelessIf While StatelessWhile Case
StatelessCase Switch RefSwitch Merge RefMerge Enter RefEnter Exit RefExit NextIteration
RefNextIteration LoopCond ControlTrigger Select SelectV2 Where Assert Reshape Shape ShapeN Size
Rank Squeeze ExpandDims Transpose ConjugateTranspose Pack Unpack Concat ConcatV2 ConcatOffset
Split SplitV Slice StridedSlice Gather GatherV2 GatherNd ScatterNd TensorScatterUpdate
TensorScatterAdd Tile BroadcastTo BroadcastArgs Fill ZerosLike OnesLike Range LinSpace Pad PadV2
MirrorPad Reverse ReverseV2 ReverseSequence Roll Cast Bitcast DepthToSpace SpaceToDepth
BatchToSpaceND SpaceToBatchND ExtractImagePatches OneHot InvertPermutation MatrixDiag MatrixDiagV2
MatrixDiagV3 MatrixDiagPart MatrixDiagPartV2 MatrixDiagPartV3 MatrixSetDiag MatrixSetDiagV2
MatrixSetDiagV3 MatrixBandPart Diag DiagPart DynamicStitch DynamicPartition BroadcastGradientArgs
TensorListFromTensor TensorListGetItem TensorListReserve TensorListSetItem TensorListStack Add
AddV2 AddN Sub Mul MulNoNan Div DivNoNan RealDiv FloorDiv TruncateDiv Mod FloorMod TruncateMod Neg
Abs Sign Square SquaredDifference Sqrt Rsqrt Reciprocal Inv Pow Exp Expm1 Log Log1p Sin Cos Tan
Asin Acos Atan Atan2 Sinh Cosh Tanh Asinh Acosh Atanh Erf Erfc Erfinv Ndtri Lgamma Digamma Sigmoid
Softplus Softsign Relu Relu6 LeakyRelu Elu Selu Floor Ceil Round Rint Maximum Minimum ClipByValue
Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr LogicalNot IsNan IsInf
IsFinite ApproximateEqual Xlogy Xdivy Sum Mean Prod Max Min All Any ArgMax ArgMin Cumsum Cumprod
EuclideanNorm L2Loss TopK TopKV2 Unique UniqueV2 SegmentSum SegmentMean UnsortedSegmentSum MatMul
BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Cross MatrixInverse MatrixDeterminant MatrixSolve
Cholesky Qr Svd SelfAdjointEigV2 _FusedMatMul BiasAdd BiasAddV1 Conv2D Conv3D Conv2DBackpropInput
Conv3DBackpropInputV2 DepthwiseConv2dNative DepthwiseConv2dNativeBackpropInput Dilation2D AvgPool
AvgPool3D MaxPool MaxPoolV2 MaxPool3D FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN Softmax
LogSoftmax ResizeBilinear ResizeNearestNeighbor ResizeBicubic ResizeArea CropAndResize
AdjustContrastv2 RGBToHSV HSVToRGB _FusedConv2D RandomUniform RandomUniformInt
RandomStandardNormal TruncatedNormal Multinomial ParameterizedTruncatedNormal
StatelessRandomNormal StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformV2
StatelessTruncatedNormal StatelessRandomGetKeyCounter StatelessRandomGetAlg
StatelessRandomGetKeyCounterAlg RandomShuffle StringJoin StringFormat AsString
StaticRegexFullMatch RegexFullMatch
"""
_SAVED_MODEL_COMPUTES = frozenset(_COMPUTING_OPERATORS.split())
# What a SavedModel saves its variables by, and gets them back.
_SAVES = frozenset(("SaveV2", "MergeV2Checkpoints"))
_RESTORES = frozenset(("RestoreV2",))

# Numbers of fields, from TensorFlow's saved_model.proto, meta_graph.proto, saver.proto,
# graph.proto, function.proto, op_def.proto and node_def.proto.
_META_GRAPHS = 2
# The definitions are those of TensorFlow's own operators.
_DEFINITIONS, _GRAPH, _SAVER, _RESTORE_OP_NAME = 1, 2, 3, 3
_NODES, _LIBRARY, _FUNCTIONS = 1, 2, 1
_SIGNATURE, _FUNCTION_NODES = 1, 3
# Of an operator; a function's signature has its name at the same number.
_NAME, _OP, _INPUT = 1, 2, 3

# Of onnx.proto: TensorProto.external_data is pairs of a key and a value.
_KEY, _VALUE = b"location", b"\x12"
_NAME_OF_FILE = re.compile(rb"[\w-][\w.-]*")


def file_operations(path: Path) -> list[str]:
    """What a model's file names that may reach for files, processes or connections.

    Args:
        path: A model, as `evaluator.formats.find` found it.

    Returns:
        A few words for each, such as "the operator torch.from_file", in the order of their names;
        empty where all that it names computes.

    Raises:
        OSError: The file can't be read.
    """
    kind = file_kinds.kind_of(path).name
    if kind == file_kinds.TORCHSCRIPT:
        found = _of_torchscript(path)
    elif kind == file_kinds.SAVED_MODEL:
        found = _of_saved_model(path)
    elif kind == file_kinds.ONNX:
        found = _of_onnx(path)
    elif kind == file_kinds.UNKNOWN:
        found = {"code of an unknown kind"}
    else:
        found = {"a pickle, which is code"}
    return sorted(found)


def with_files_beside(models: Iterable[Path]) -> list[Path]:
    """All that models are read from: an ONNX model may keep weights in files beside its own.

    Args:
        models: As `evaluator.formats.find` found them.

    Returns:
        The models, and such files of the same folders as are there; a link, which may lead
        anywhere, isn't among them.
    """
    files = []
    for model in models:
        files.append(model)
        # What can't be read is told by the format's reader.
        with contextlib.suppress(OSError):
            if file_kinds.kind_of(model).name == file_kinds.ONNX:
                beside = [model.parent / name for name in sorted(_locations(model) - {""})]
                files += [one for one in beside if one.is_file() and not one.is_symlink()]
    return files


def _of_torchscript(path: Path) -> set[str]:
    import torch

    # PyTorch's own reader, since a file can be made that another finds other things in.
    try:
        archive = torch._C.PyTorchFileReader(str(path))
        names = archive.get_all_records()
        # Before PyTorch 1.4, any record might be code.
        legacy = "model.json" in names
        texts = [
            (name, archive.get_record(name))
            for name in names
            if legacy or not name.startswith(("data/", "constants/"))
        ]
    except (RuntimeError, UnicodeDecodeError):
        return {"an archive that PyTorch can't list"}
    found = set()
    for name, text in texts:
        found |= {f"the operator torch.{one.decode()}" for one in _OF_TORCH.findall(text)}
        found |= {f"the operators {one}" for one in _other(_OTHERS, _COMPUTING, text)}
        # In a pickle, the name of a class stands in a line of its own.
        dotted = text.replace(b"\n", b".")
        if dotted.count(b"classes"):
            found |= {f"the {one}" for one in _other(_CLASSES, _COMPUTING_CLASSES, dotted)}
        if name.endswith(".py") or legacy:
            hidden = [one for one in _GETATTR.finditer(text) if one[1] is None]
            found |= {"a getattr of what it doesn't spell out" for _ in hidden}
    return found


def _other(named: re.Pattern[bytes], allowed: re.Pattern[bytes], text: bytes) -> Iterator[str]:
    for one in named.findall(text):
        if not allowed.fullmatch(one):
            yield one.decode(errors="replace")


def _of_saved_model(folder: Path) -> set[str]:
    path = folder / "saved_model.pb"
    if not path.is_file():
        return {"saved_model.pbtxt, a graph in text"}
    try:
        found = set()
        for graph in _fields(path.read_bytes(), _META_GRAPHS):
            found |= _of_meta_graph(graph)
    except ValueError:
        return {"a graph that can't be read"}
    return found


def _of_meta_graph(meta_graph: bytes) -> set[str]:
    graphs = list(_fields(meta_graph, _GRAPH))
    nodes = [node for graph in graphs for node in _fields(graph, _NODES)]
    libraries = [library for graph in graphs for library in _fields(graph, _LIBRARY)]
    functions = {
        _name(signature): list(_fields(function, _FUNCTION_NODES))
        for library in libraries
        for function in _fields(library, _FUNCTIONS)
        for signature in _fields(function, _SIGNATURE)
    }
    inner = [node for body in functions.values() for node in body]
    named = {operator.decode() for node in nodes + inner for operator in _fields(node, _OP)}
    known = _SAVED_MODEL_COMPUTES | _SAVES | _RESTORES
    found = {f"the operator {operator}" for operator in named - known}
    # What loads the model asks for the variables by the saver alone, and for all else by the rest.
    apart = (_DEFINITIONS, _GRAPH, _SAVER)
    rest = b"".join(value for number, value in _all_fields(meta_graph) if number not in apart)
    restores = {
        _node_of(name)
        for saver in _fields(meta_graph, _SAVER)
        for name in _fields(saver, _RESTORE_OP_NAME)
    }
    for operators, asked in ((_SAVES, restores), (_RESTORES, set())):
        depending = _depending(nodes, functions, operators)
        if depending & asked or any(name in rest for name in depending):
            used = " or ".join(sorted(operators & named))
            found.add(f"the operator {used}, beside what saves its variables")
    return found


def _depending(
    nodes: list[bytes], functions: dict[bytes, list[bytes]], operators: frozenset[str]
) -> set[bytes]:
    """The names of all nodes and functions that run one of the operators when they are run."""
    wanted = {operator.encode() for operator in operators}
    depending: set[bytes] = set()
    added = True
    while added:
        added = False
        for name, body in functions.items():
            if name not in depending and any(_runs(node, wanted, depending) for node in body):
                depending.add(name)
                added = True
        for node in nodes:
            name = _name(node)
            inputs = {_node_of(one) for one in _fields(node, _INPUT)}
            if name not in depending and (inputs & depending or _runs(node, wanted, depending)):
                depending.add(name)
                added = True
    return depending


def _runs(node: bytes, operators: set[bytes], functions: set[bytes]) -> bool:
    """Whether it is one of the operators, or its attributes name one of the functions."""
    if operators & set(_fields(node, _OP)):
        return True
    attributes = b"".join(value for number, value in _all_fields(node) if number > _INPUT)
    return any(name in attributes for name in functions)


def _node_of(name: bytes) -> bytes:
    """The node that an input names, as it is, with ^ before it or with :number behind it."""
    return name.lstrip(b"^").split(b":")[0]


def _name(message: bytes) -> bytes:
    return b"".join(_fields(message, _NAME))


def _fields(message: bytes, number: int) -> Iterator[bytes]:
    return (value for found, value in _all_fields(message) if found == number)


def _all_fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """The numbers and contents of a protobuf's texts and messages; numbers are left out.

    Raises:
        ValueError: It is cut short, or no protobuf.
    """
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        if tag & 7 == 0:
            _, at = _varint(message, at)
        elif tag & 7 == 2:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field reaches behind the end")
            yield tag >> 3, message[at : at + length]
            at += length
        elif tag & 7 in (1, 5):
            at += 8 if tag & 7 == 1 else 4
        else:
            raise ValueError("a field of no kind that protobufs of today have")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = 0
    for index in range(10):
        if at + index >= len(message):
            break
        byte = message[at + index]
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, at + index + 1
    raise ValueError("a number has no end")


def _of_onnx(path: Path) -> set[str]:
    # Its operators compute, all of them; weights may stand in other files.
    return {"weights in a file elsewhere"} if "" in _locations(path) else set()


def _locations(path: Path) -> set[str]:
    """The names of files that an ONNX model has weights in; empty for what is no mere name."""
    locations = set()
    for after in path.read_bytes().split(_KEY)[1:]:
        length = after[1] if len(after) > 1 else 0
        plain = after.startswith(_VALUE) and length < 128
        name = after[2 : 2 + length]
        locations.add(name.decode() if plain and _NAME_OF_FILE.fullmatch(name) else "")
    return locations
