"""The ResNet-50 motion embedder against the training-free signature, on fakes it never saw.

Every fake's pictures are compared with those of its true place and of wrong places that the
signature liked best, by the mean angle; and every picture with all those of the true place.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from models.motion import COARSE
from models.motion_embedder import signature, window
from models.motion_resnet import BATCH, angles, embed_stacks
from models.training.motion_scores import auroc, interval, share
from models.training.picture_examples import PictureExample, Pictures

Embed = Callable[[Tensor], np.ndarray]  # stacks [N, S, S, 3] -> [N, D]


def compare_pictures(pictures: Pictures, net: nn.Module, start: nn.Module) -> dict:
    """All figures by method; `start`: the network before it was trained."""
    examples = pictures.examples
    methods = {"signature": pooled_signature, "before training": network_vectors(start),
               "network": network_vectors(net)}
    figures = {"fakes": len(examples), "clips": len({e.group for e in examples}),
               "frame pairs per fake": examples[0].at.shape[1] if examples else 0}
    for name, embed in methods.items():
        places, moments = [], []
        for example in examples:
            scores, hits = judged(example, embed, joined=name == "signature")
            places.append(bests(example, scores))
            moments.append(hits)
        table = np.array(places).reshape(-1, 3)
        placed = table[~np.isnan(table[:, 2])]
        figures[name] = {"AUROC": interval(table[:, :2], auroc) if len(table) else None,
                         "right place first": share(placed[:, 0] > placed[:, 2]),
                         "right moment nearest": share(
                             np.concatenate([np.zeros(0, bool), *moments]),
                             np.repeat(np.arange(len(examples)), [len(m) for m in moments]))}
    return figures


def pooled_signature(stacks: Tensor) -> np.ndarray:
    """Signature of 12 x 12 means over the person, [N, 288], long displacements shortened."""
    flow, mask = stacks[..., :2].permute(0, 3, 1, 2), stacks[..., 2:].permute(0, 3, 1, 2)
    weight = adaptive_avg_pool2d(mask, COARSE)
    mean = adaptive_avg_pool2d(flow * mask, COARSE) / weight.clamp_min(1e-6)
    return signature(torch.cat([mean, weight], 1).permute(0, 2, 3, 1)).flatten(1).numpy()


def network_vectors(net: nn.Module) -> Embed:
    """Embeds stacks [N, S, S, 3] by a network: [N, D] unit vectors."""
    net.eval()
    device = next(net.parameters()).device

    def embed(stacks: Tensor) -> np.ndarray:
        return np.concatenate([embed_stacks(net, part.to(device)).cpu().numpy()
                               for part in stacks.split(BATCH)])
    return embed


def judged(example: PictureExample, embed: Embed,
           joined: bool) -> tuple[np.ndarray, np.ndarray]:
    """Score of every place, [P], larger is better; whether the right moment is nearest, [K].

    joined: by the cosine of all pairs together, as step 5 uses the signature; else by minus the
    mean angle.
    """
    places = example.places()
    count = places.shape[1]
    fake = embed(torch.from_numpy(example.fake()))
    others = embed(torch.from_numpy(places).flatten(0, 1)).reshape(len(places), count, -1)
    if joined:
        scores = np.array([window(fake) @ window(place) for place in others])
        fake, others = (v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-6)
                        for v in (fake, others))
    else:
        scores = np.array([-angles(fake, place).mean() for place in others])
    nearest = (fake @ others[0].T).argmax(1)
    return scores, nearest == np.arange(count)


def bests(example: PictureExample, scores: np.ndarray) -> tuple[float, float, float]:
    """Score of the true place, best one of another source's, of any wrong one; NaN for none."""
    stranger = np.array([source != example.sources[0] for source in example.sources])
    return (float(scores[0]), float(scores[stranger].max()) if stranger.any() else np.nan,
            float(scores[1:].max()) if len(scores) > 1 else np.nan)
