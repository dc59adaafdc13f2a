"""State dicts: weights in PyTorch's format, read without running what is in them."""

from pathlib import Path

import torch
from torch import Tensor

from models.fetch import ModelFileError, checked_sha256


def read_state(path: Path | str) -> dict[str, Tensor]:
    """Tensors of a state dict by name, on the CPU, floating-point ones as float32.

    Raises ModelFileError when the file cannot be read, is not the one that the card beside it
    names, or holds anything but tensors.
    """
    checked_sha256(Path(path))
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage surfaces in zipfile, pickle and PyTorch in many ways
        # PyTorch's own text would advise to load the file without this protection
        raise ModelFileError(f"{path}: not weights that PyTorch can read safely "
                             f"({type(error).__name__}); give a file with a state dict") from error
    if not isinstance(state, dict) or not state or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()):
        raise ModelFileError(f"{path}: not a state dict of tensors alone; give another file")
    return {name: value.float() if value.is_floating_point() else value
            for name, value in state.items()}

