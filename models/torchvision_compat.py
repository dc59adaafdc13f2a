"""Import torchvision beside a PyTorch build that its compiled extension was not made for.

PyPI's torchvision wheel is compiled against CUDA PyTorch. Beside a CPU-only
PyTorch its extension cannot load, and `import torchvision` stops at operators that the
extension would have registered. Only the network definitions are needed here, so it is
enough to declare those operators. Import torchvision through this module:

    from models.torchvision_compat import torchvision
"""

from torch import library as dispatcher

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared = None  # keeps the declarations alive as long as the process


def _declare_missing_operators() -> None:
    global _declared
    _declared = dispatcher.Library("torchvision", "DEF")
    for schema in _SCHEMAS:
        _declared.define(schema)


try:
    import torchvision
except RuntimeError as error:
    if "torchvision::" not in str(error):
        raise
    _declare_missing_operators()
    import torchvision

import torchvision.models  # noqa: E402  the part this project uses

__all__ = ["torchvision"]
