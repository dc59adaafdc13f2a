"""Motion embedding: masked, square-normalised displacements in, vectors out that tell movements.

A frame pair's grid of displacements (models/motion.py), or the sum over a span of pairs, becomes a
short vector; a window is all vectors of its pairs, joined and scaled to length 1. Windows are
compared by the cosine, which is a sum of products: one matrix product compares a window with every
start of a source. Long vectors are lively pairs: they count more, as they do in the training-free
signature (utils/matching.py). Weights: `models/training/train_flow.py`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models.fetch import ModelFileError, sha256_of
from models.motion import COARSE, MotionGrid
from models.state import read_state

SHIPPED = Path(__file__).parent / "weights" / "motion_embedder.pt"
DIMENSIONS = 64
SPANS = (1, 6)  # frame pairs that are summed before they are embedded, where a place is judged
SOFT_PX, CALM_PX = 0.3, 3.0  # pixels of the person crop: where direction, and size, begin to count
LEAST_LENGTH = 1e-6
BATCH = 2048  # grids at a time


class MotionNet(nn.Module):
    """From grids of displacements to vectors: a linear map of the signature, and a small
    convolutional network that adds to it."""

    def __init__(self, dimensions: int = DIMENSIONS):
        super().__init__()
        self.linear = nn.Linear(2 * COARSE**2, dimensions, bias=False)
        self.maps = nn.Sequential(
            nn.Conv2d(5, 16, 3, stride=2, padding=1), nn.GELU(),
            nn.Conv2d(16, 32, 3, padding=1), nn.GELU(),
            nn.Conv2d(32, 32, 3, padding=1), nn.GELU())
        self.head = nn.Linear(32 * (COARSE // 2)**2, dimensions, bias=False)

    def forward(self, stacks: Tensor) -> Tensor:
        """stacks [N, 12, 12, 3]: dx, dy in pixels, weight in 0 to 1 -> [N, D], any length."""
        flow, weight = stacks[..., :2], stacks[..., 2:]
        length = flow.norm(dim=-1, keepdim=True)
        direction = signature(stacks)
        size = flow / (length + CALM_PX) * weight
        maps = self.maps(torch.cat([direction, size, weight], -1).permute(0, 3, 1, 2))
        return self.linear(direction.flatten(1)) + self.head(maps.flatten(1))


def signature(stacks: Tensor) -> Tensor:
    """[..., 3] dx, dy, weight -> [..., 2], long displacements shortened to about 1."""
    flow, weight = stacks[..., :2], stacks[..., 2:]
    return flow / (flow.norm(dim=-1, keepdim=True) + SOFT_PX) * weight


def over_span(stacks: Tensor, span: int) -> Tensor:
    """Displacements summed, and weights averaged, over `span` successive pairs.

    [..., n, 12, 12, 3] -> [..., n - span + 1, 12, 12, 3].
    """
    if span == 1:
        return stacks
    sums = stacks.cumsum(-4)
    moved = sums[..., span - 1:, :, :, :].clone()
    moved[..., 1:, :, :, :] -= sums[..., :-span, :, :, :]
    return moved * moved.new_tensor([1, 1, 1 / span])


def load_net(path: Path) -> MotionNet:
    """The network with the weights of a file.

    Raises ModelFileError when they do not fit, or are not those that the card beside them names.
    """
    state = read_state(path)
    try:
        net = MotionNet(len(state["head.weight"]))
        net.load_state_dict(state)
    except Exception as error:  # tensors of any shapes and kinds
        reason = " ".join(str(error).split())[:160]
        raise ModelFileError(f"{path}: not weights of a motion embedder ({reason}); give those "
                             "that models/training/train_flow.py wrote") from error
    return net.eval().requires_grad_(False)


class MotionEmbedder:
    """A network that embeds motion.

    model_path: weights; None for the shipped ones. Raises ModelFileError when they cannot be
    loaded or do not match their card.
    """

    def __init__(self, model_path: Path | str | None = None, device: str = "cpu"):
        self._device = torch.device(device)
        path = Path(model_path or SHIPPED)
        self._net = load_net(path).to(self._device)
        self.dimensions = self._net.head.out_features
        self.identity = f"motion embedder {sha256_of(path)[:16]}"

    def embed(self, grid: MotionGrid, span: int = 1) -> np.ndarray:
        """Vectors of all runs of `span` frame pairs, [n - span + 1, D] float32, any length.

        Raises ValueError when the grid has fewer pairs or another number of cells.
        """
        if not 1 <= span <= len(grid):
            raise ValueError(f"span {span} does not fit {len(grid)} frame pairs")
        if grid.flow.shape[1:] != (COARSE, COARSE, 2):
            raise ValueError(f"flow of shape {grid.flow.shape}, not [n, {COARSE}, {COARSE}, 2]")
        stacks = torch.from_numpy(np.concatenate([grid.flow, grid.weight[..., None]], -1)).float()
        return self.embed_stacks(over_span(stacks, span))

    @torch.inference_mode()
    def embed_stacks(self, stacks: Tensor) -> np.ndarray:
        """[N, 12, 12, 3] (dx, dy, weight) -> [N, D] float32."""
        return torch.cat([self._net(part.to(self._device)).cpu()
                          for part in stacks.split(BATCH)]).numpy()

    def similarity(self, fake: MotionGrid, source: MotionGrid,
                   spans: tuple[int, ...] = SPANS) -> float:
        """Cosine of two equally long windows over short and long displacements, -1 to 1.

        source: its motion along the alignment. Spans too long for the window are shortened.
        """
        if len(fake) != len(source):
            raise ValueError(f"windows of {len(fake)} and {len(source)} frame pairs")
        fitting = dict.fromkeys(min(span, max(1, len(fake) // 2)) for span in spans)
        one, other = (window(np.concatenate([self.embed(grid, span) for span in fitting]))
                      for grid in (fake, source))
        return float(one @ other)


def window(vectors: np.ndarray) -> np.ndarray:
    """The unit vector [m D] of a window from the vectors [m, D] of its pairs."""
    joined = vectors.ravel()
    return joined / max(float(np.linalg.norm(joined)), LEAST_LENGTH)


def slide(fake: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Cosine of a fake's window with that of every start in a source, at the same rate.

    fake: [n, D], source: [m, D] vectors of one span. Returns [m - n + 1] float32, empty where the
    fake is longer.
    """
    starts = len(source) - len(fake) + 1
    if starts < 1:
        return np.empty(0, np.float32)
    products = np.ascontiguousarray(fake @ source.T)  # [n, m]
    step = products.strides[1]
    diagonals = np.lib.stride_tricks.as_strided(  # [n, starts]: pair i of the fake at start + i
        products, (len(fake), starts), (products.strides[0] + step, step), writeable=False)
    energy = np.concatenate([[0.0], np.cumsum((source.astype(np.float64)**2).sum(1))])
    lengths = np.sqrt(np.maximum(energy[len(fake):] - energy[:starts], LEAST_LENGTH**2))
    return (diagonals.sum(0) / (lengths * max(float(np.linalg.norm(fake)), LEAST_LENGTH))
            ).astype(np.float32)
