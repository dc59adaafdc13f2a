"""The scene embedder's rival without ImageNet: a small convolutional network from random weights.

It takes the place of `LiteNet` in training and comparison: the same pairs, loss and averaged
weights. It is not selectable in step 4, because it finds fewer scenes than what is shipped; the
card of the shipped weights has its figures.

Group normalisation (Wu and He, ECCV 2018) instead of batch normalisation: it has no running
statistics, so that what is trained is what is averaged and written.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from models.scene import masked_statistics
from models.state import read_state

GROUPS = 8


class ScratchNet(nn.Module):
    """Six convolutions; masked means and deviations of the maps of the last four; a linear head.

    Nothing of it is computed beforehand: what is kept of a view is the view itself.
    """

    side = 64  # pixels the network sees
    pixel_mean, pixel_scale = (127.0,) * 3, (64.0,) * 3
    channels = (32, 64, 64, 96, 128, 160)
    strides = (2, 2, 1, 2, 1, 1)  # maps of 32, 16, 16, 8, 8 and 8 px
    read_from = 2  # the first block whose map the head sees
    head_features = 2 * sum(channels[read_from:])

    def __init__(self, dimensions: int):
        super().__init__()
        inputs = (3, *self.channels)
        self.blocks = nn.ModuleList(nn.Sequential(
            nn.Conv2d(before, after, 3, stride, padding=1, bias=False),
            nn.GroupNorm(GROUPS, after), nn.ReLU(inplace=True))
            for before, after, stride in zip(inputs, self.channels, self.strides, strict=False))
        self.head = nn.Linear(self.head_features, dimensions)

    def early(self, pixels: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """The pixels [N, 3, 64, 64] as they are, and no statistics, [N, 0]."""
        return pixels, pixels.new_empty(len(pixels), 0)

    def late(self, pixels: Tensor, found: Tensor, alpha: Tensor) -> Tensor:
        """All blocks: what the head sees, [N, 896]."""
        statistics, maps = [found], pixels
        for number, block in enumerate(self.blocks):
            maps = block(maps)
            if number >= self.read_from:
                statistics.append(masked_statistics(maps, alpha))
        return torch.cat(statistics, 1)


def load_scratch(path: Path) -> ScratchNet:
    """The network with the weights of a file that `train_scene.py --network scratch` wrote."""
    state = read_state(path)
    net = ScratchNet(len(state["head.bias"])).eval()
    net.load_state_dict(state)
    return net
