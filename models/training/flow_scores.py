"""Errors of optical flow on pairs whose true flow is known.

Estimates and flow are Nx2xSxS px, (x, y); `damaged` is N bool. Pairs are batches of
`flow_pairs.PairStream`: images 2xBx3xSxS uint8 RGB, flow, damaged.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from models.flow import make_dis
from models.motion import COARSE
from utils.matching import SOFT_PX

CALM = 0.25  # px of mean motion, below which a pair counts for "signature, calm"
STILL = 1e-3  # length of the signature of a pair in which nothing moves
SIZE_BINS = {
    "under 0.1 px": (0, 0.1),
    "0.1-0.5 px": (0.1, 0.5),
    "0.5-2 px": (0.5, 2),
    "2-6 px": (2, 6),
    "over 6 px": (6, math.inf),
}


def score(estimates: Tensor, flow: Tensor, damaged: Tensor) -> dict[str, float]:
    """End-point errors in px (Nx2xSxS), and how well the motion signature is kept.

    "signature" is the mean cosine between those of true and estimated flow, "signature, calm" that
    of pairs that hardly move.
    """
    error, motion = (estimates - flow).norm(dim=1), flow.norm(dim=1)
    result = {
        "all": error.mean(),
        "clean": error[~damaged].mean(),
        "damaged": error[damaged].mean(),
    }
    for name, (low, high) in SIZE_BINS.items():
        result[name] = error[(motion >= low) & (motion < high)].mean()
    cells = [pooled(field) for field in (estimates, flow)]
    result["12x12"] = (cells[0] - cells[1]).norm(dim=1).mean()
    one, true = (signature(field) for field in cells)
    alike, moving = F.cosine_similarity(one, true), true.norm(dim=1) > STILL
    result["signature"] = alike[moving].mean()
    calm = motion.mean((1, 2)) < CALM
    result["signature, calm"] = alike[moving & calm].mean()
    return {name: round(float(value), 4) for name, value in result.items() if value.isfinite()}


def pooled(field: Tensor) -> Tensor:
    """Mean flow in the cells that the tracing compares, Nx2xSxS px -> Nx2x12x12 px."""
    return F.adaptive_avg_pool2d(field, COARSE)


def signature(cells: Tensor) -> Tensor:
    """pooled() flow in the form in which the tracing compares it, each vector scaled by
    1 / (|v| + 0.3 px): Nx2x12x12 px -> Nx288."""
    return (cells / (cells.norm(dim=1, keepdim=True) + SOFT_PX)).flatten(1)


def score_rivals(pairs: Sequence) -> dict[str, dict[str, float]]:
    """DIS flow (Kroeger et al. 2016), OpenCV's medium preset and as step 5 has it, and no motion,
    on the same pairs."""
    methods = {"dis_medium": cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM),
               "dis": make_dis()}
    flow, damaged = (torch.cat(parts) for parts in list(zip(*pairs))[1:])
    # BxCxSxS -> BxSxSxC
    images = torch.cat([batch for batch, _, _ in pairs], dim=1).permute(0, 1, 3, 4, 2).numpy()
    grey = [[cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in side] for side in images]
    found = {"zero": score(torch.zeros_like(flow), flow, damaged)}
    for name, dis in methods.items():
        fields = np.stack([dis.calc(first, second, None) for first, second in zip(*grey)])
        found[name] = score(torch.from_numpy(fields).permute(0, 3, 1, 2), flow, damaged)
    return found
