"""What step 4 asks of backgrounds and their embeddings beside the network (models/scene.py), whose
import takes seconds."""

import numpy as np

EMBEDDERS = ("efficientnet", "resnet50")  # networks of models/scene.py


def background_share(background: np.ndarray) -> float:
    """Share of a picture [H, W, 4] BGRA that is background, 0 to 1."""
    return float((background[..., 3] > 0).mean())


def angular_distance(cosine: np.ndarray | float) -> np.ndarray:
    """Angle between unit vectors in radians, 0 (same) to pi, from their inner product."""
    return np.arccos(np.clip(cosine, -1.0, 1.0))
