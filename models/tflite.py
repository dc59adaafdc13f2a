"""TFLite files through OpenVINO, with what can be checked before its parser sees them.

On a processor OpenVINO runs MediaPipe's small networks several times as fast as OpenCV, with the
same numbers but for rounding.

The parser is native code that was not written for damaged or hostile files: some make it crash. So
a file that is not known by its checksum is tried in a process of its own first, which finds most
damage and every network of another form. It is no protection from a file made to attack.
"""

import os
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

import numpy as np

# OpenVINO goes without its converter of other formats where that is not installed: importing it,
# and the telemetry that comes with it, takes longer than all the rest
sys.modules.setdefault("openvino.tools.ovc", None)

import openvino
from openvino import opset13
from openvino.frontend import FrontEndManager

from models.fetch import ModelFileError, sha256_of
from utils.threads import made_once

IDENTIFIER = b"TFL3"  # of the flatbuffers schema, at byte 4
SMALLEST, LARGEST = 1 << 10, 256 << 20  # bytes
PATIENCE_S = 120  # for a network to answer one picture
AT_ONCE = os.cpu_count() or 1  # pictures that one network looks at, each on one thread
SETTINGS = {"INFERENCE_NUM_THREADS": AT_ONCE, "NUM_STREAMS": AT_ONCE, "ENABLE_CPU_PINNING": False,
            "INFERENCE_PRECISION_HINT": "f32"}
_TRIAL = """
import sys
from pathlib import Path
from models.tflite import forms
print(forms(Path(sys.argv[1])))
"""
_HOME = Path(__file__).parents[1]  # where `models` is found
# OpenVINO's binding sets itself up for NumPy at the first look into a tensor; two threads that come
# to it together wait for each other without end. Only one thread imports a module.
_ = openvino.Tensor(np.zeros(1, np.float32)).data

Form = tuple[int, ...]


class TFLiteNetwork:
    """A network that answers on one thread; one instance serves one thread.

    What OpenVINO makes of a file, as long as some hundred pictures take it, is shared by all
    instances of a process.
    """

    def __init__(self, path: Path):
        compiled = _compiled(Path(path), sha256_of(path))
        self.pictures: Form = tuple(compiled.input().shape)
        self._request = compiled.create_infer_request()

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Pictures [N, H, W, C] float32 -> the outputs, in the file's order; they are good until
        the next call."""
        found = self._request.infer([pictures])
        return [found[number] for number in range(len(found))]


def load_tflite(path: Path, pictures: Form, answers: list[Form], *, known: bool = False
                ) -> TFLiteNetwork:
    """The network of a TFLite file that answers `pictures` [N, H, W, C] with outputs of the forms
    `answers`.

    known: its checksum was compared already. Raises ModelFileError when it is not such a network.
    """
    data = _checked(path)
    expected = _text(pictures, answers)
    said = expected if known else _tried(path, data)
    if said != expected:
        raise ModelFileError(f"{path}: not a TFLite model of the form {expected} ({said}); give "
                             "another file")
    return TFLiteNetwork(path)


def forms(path: Path) -> str:
    """Forms of a network's input and outputs, once it has answered an empty picture."""
    network = TFLiteNetwork(path)
    answers = network(np.zeros(network.pictures, np.float32))
    return _text(network.pictures, [answer.shape for answer in answers])


@made_once
def _compiled(path: Path, _sha256: str) -> openvino.CompiledModel:
    return openvino.Core().compile_model(_model(path), "CPU", SETTINGS)


def _model(path: Path) -> openvino.Model:
    """A TFLite file as OpenVINO's graph, MediaPipe's own operator included."""
    frontend = FrontEndManager().load_by_framework("tflite")
    model = frontend.convert_partially(frontend.load(str(path)))
    for node in model.get_ops():
        if node.get_type_name() == "TFFrameworkNode":  # an operator that OpenVINO does not know
            node.output(0).replace(_transposed_convolution(*node.input_values()))
    model.validate_nodes_and_infer_types()
    return model


def _transposed_convolution(picture: openvino.Output, kernel: openvino.Output,
                            bias: openvino.Output) -> openvino.Output:
    """MediaPipe's Convolution2DTransposeBias with stride 2 and a 2 x 2 kernel [out, h, w, in]."""
    moved = opset13.convolution_backprop_data(
        opset13.transpose(picture, [0, 3, 1, 2]), opset13.transpose(kernel, [3, 0, 1, 2]),
        strides=[2, 2], pads_begin=[0, 0], pads_end=[0, 0], dilations=[1, 1])
    return opset13.add(opset13.transpose(moved, [0, 2, 3, 1]), bias).output(0)


def _checked(path: Path) -> bytes:
    """Content of a TFLite file. Raises ModelFileError when it cannot be one."""
    try:
        size = path.stat().st_size
        data = path.read_bytes() if SMALLEST <= size <= LARGEST else b""
    except OSError as error:
        raise ModelFileError(f"{path}: the TFLite model cannot be read ({error.strerror}); give "
                             "another file") from error
    if not data:
        raise ModelFileError(f"{path}: {size} bytes, not the size of a TFLite model; give another "
                             "file")
    if data[4:8] != IDENTIFIER:
        raise ModelFileError(f"{path}: not a TFLite model, the mark {IDENTIFIER.decode()} is "
                             "missing; give another file")
    return data


@lru_cache(8)  # every thread makes its own instance
def _tried(path: Path, data: bytes) -> str:
    """What a process of its own says of a file: its forms, or the reason why there are none."""
    try:
        done = subprocess.run([sys.executable, "-c", _TRIAL, str(Path(path).resolve())], cwd=_HOME,
                              capture_output=True, timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE_S} s"
    if done.returncode < 0:
        return "it makes the parser crash"
    lines = (done.stderr if done.returncode else done.stdout).decode(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "no answer")[:160]


def _text(pictures: Form, answers: list[Form]) -> str:
    return f"{_sides(pictures)} -> {', '.join(map(_sides, answers))}"


def _sides(form: Form) -> str:
    return "x".join(map(str, form))
