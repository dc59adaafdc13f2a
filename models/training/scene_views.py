"""Views of many scenes, passed once through the part of the network that is not trained.

What comes out is kept in files, so that a run that was stopped goes on from there: 0.04 MB in
memory and on disk per view.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from models.scene import BATCH, LiteNet, network_input
from models.training.raft_trainer import save_tensors
from models.training.scene_bank import SceneBank
from models.training.scene_pairs import edited_view, source_view
from models.training.scene_scores import RIVALS
from models.training.scene_scratch import ScratchNet

PICTURES_PER_FILE = 64
ALPHA_SIDE = 14  # side of the map that is kept


@dataclass
class Views:
    """Views in the order in which they were made."""

    tensors: dict[str, Tensor]  # maps, statistics, alpha and the rivals' vectors, [V, ...] each
    scenes: list[str]  # scene of each view
    origins: list[str]  # file or FakeTD scene of each view
    edited: np.ndarray  # [V] bool; False: as a database holds it

    def inputs(self, chosen: Sequence[int] | slice, device: torch.device
               ) -> tuple[Tensor, Tensor, Tensor]:
        """Map, statistics and alpha of some views, float32."""
        maps, found, alpha = (self.tensors[name][chosen].to(device).float()
                              for name in ("maps", "statistics", "alpha"))
        return maps.contiguous(memory_format=torch.channels_last), found, alpha

    def chosen(self, numbers: np.ndarray) -> "Views":
        """Some of the views."""
        return Views({name: tensor[numbers] for name, tensor in self.tensors.items()},
                     [self.scenes[number] for number in numbers],
                     [self.origins[number] for number in numbers], self.edited[numbers])


def joined(one: Views, two: Views) -> Views:
    """Views of both."""
    tensors = {name: torch.cat([one.tensors[name], two.tensors[name]]) for name in one.tensors}
    return Views(tensors, one.scenes + two.scenes, one.origins + two.origins,
                 np.concatenate([one.edited, two.edited]))


def make_views(bank: SceneBank, number: int, edits: int, seed: int) -> list[np.ndarray]:
    """A view as a source and `edits` edited ones of a bank's picture: [H, W, 4] BGRA each.

    They follow from the seed and the picture's number alone.
    """
    rng, picture = np.random.default_rng([seed, number]), bank.pictures[number]
    return [source_view(rng, picture, bank.masks),
            *(edited_view(rng, picture, bank.masks) for _ in range(edits))]


def cached_views(net: LiteNet | ScratchNet, bank: SceneBank, edits: int, seed: int, folder: Path,
                 identity: str) -> Views:
    """Views of a bank after the network's first blocks, from the files in `folder` where these
    were made with the same `identity`."""
    parts = []
    for start in range(0, len(bank.pictures), PICTURES_PER_FILE):
        numbers = range(start, min(start + PICTURES_PER_FILE, len(bank.pictures)))
        file = folder / f"pictures_{start:06d}.pt"
        part = _stored(file, identity)
        if part is None:
            views = [view for number in numbers for view in make_views(bank, number, edits, seed)]
            part = _early(net, views)
            file.parent.mkdir(parents=True, exist_ok=True)
            save_tensors(file, {"identity": identity, "views": part})
        parts.append(part)
    each = [picture for picture in bank.pictures for _ in range(1 + edits)]
    return Views({name: torch.cat([part[name] for part in parts]) for name in parts[0]},
                 [picture.scene for picture in each], [picture.origin for picture in each],
                 np.tile(np.arange(1 + edits) > 0, len(bank.pictures)))


def _early(net: LiteNet | ScratchNet, views: list[np.ndarray]) -> dict[str, Tensor]:
    """What is kept of views: the network's part in half precision, and the rivals' vectors."""
    parts, device = [], next(net.parameters()).device
    for start in range(0, len(views), BATCH):
        pixels, alpha = network_input(views[start:start + BATCH], net.side, net.pixel_mean,
                                      net.pixel_scale)
        pixels, alpha = pixels.to(device), alpha.to(device)
        with torch.no_grad():
            maps, found = net.early(pixels.contiguous(memory_format=torch.channels_last), alpha)
        parts.append({"maps": maps.half().cpu(), "statistics": found.cpu(),
                      "alpha": adaptive_avg_pool2d(alpha, ALPHA_SIDE).cpu()})
    content = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    for name, embed in RIVALS.items():
        both = [(embed(view), embed(cv2.flip(view, 1))) for view in views]
        content[name] = torch.from_numpy(np.array(both))  # [V, 2, D], as it is and mirrored
    return content


def _stored(file: Path, identity: str) -> dict[str, Tensor] | None:
    if not file.is_file():
        return None
    content = torch.load(file, map_location="cpu", weights_only=True)
    return content["views"] if content["identity"] == identity else None
