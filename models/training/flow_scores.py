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

SIZE_BINS = {
    "under 0.5 px": (0, 0.5),
    "0.5-2 px": (0.5, 2),
    "2-6 px": (2, 6),
    "over 6 px": (6, math.inf),
}


def score(estimates: Tensor, flow: Tensor, damaged: Tensor) -> dict[str, float]:
    """End-point errors in px (Nx2xSxS), and how well the 12x12 motion signature is kept.

    "signature" is the mean cosine between true and estimated flow after pooling to 12x12 cells
    and scaling each vector by 1 / (|v| + 0.3 px), the form in which the tracing compares it.
    """
    error, motion = (estimates - flow).norm(dim=1), flow.norm(dim=1)
    result = {
        "all": error.mean(),
        "clean": error[~damaged].mean(),
        "damaged": error[damaged].mean(),
    }
    for name, (low, high) in SIZE_BINS.items():
        result[name] = error[(motion >= low) & (motion < high)].mean()
    cells = [F.adaptive_avg_pool2d(field, 12) for field in (estimates, flow)]
    result["12x12"] = (cells[0] - cells[1]).norm(dim=1).mean()
    scaled = [(cell / (cell.norm(dim=1, keepdim=True) + 0.3)).flatten(1) for cell in cells]
    moving = scaled[1].norm(dim=1) > 1e-3
    result["signature"] = F.cosine_similarity(scaled[0], scaled[1])[moving].mean()
    return {name: round(float(value), 4) for name, value in result.items() if value.isfinite()}


def score_rivals(pairs: Sequence) -> dict[str, dict[str, float]]:
    """DIS flow (Kroeger et al. 2016; OpenCV, medium preset) and no motion, on the same pairs."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow, damaged = (torch.cat(parts) for parts in list(zip(*pairs))[1:])
    # BxCxSxS -> BxSxSxC
    images = torch.cat([batch for batch, _, _ in pairs], dim=1).permute(0, 1, 3, 4, 2).numpy()
    grey = [[cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in side] for side in images]
    fields = np.stack([dis.calc(first, second, None) for first, second in zip(*grey)])
    estimates = torch.from_numpy(fields).permute(0, 3, 1, 2)
    return {
        "dis_medium": score(estimates, flow, damaged),
        "zero": score(torch.zeros_like(flow), flow, damaged),
    }
