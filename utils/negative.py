"""Is a video the negative of what it shows? Then its colours are turned back before it is traced.

Nothing that is compared later, local features, people, gradients, survives inverted colours; a
face does. A detector is sure of it in the negative, too, but surer in the picture as it was. Where
that is the other way round in pictures that are no negatives, they are close crops, and hardly a
face either way.
"""

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from models.face_detector import FaceDetector
from utils.layout import evenly_spaced
from utils.sparse_reader import SparseReader, outline_of

FRAMES = 5  # looked at
LEAST_SCORE = 0.05  # of a face that counts; the detector that is given must tell them
SURE, LEAD = 0.75, 0.02  # mean score of the best face with colours inverted, and by how much it
# must be above that of the picture as it is


def is_negative(path: Path, detector: FaceDetector) -> bool:
    """Whether the faces of a video are rather faces when its colours are inverted. Raises
    VideoError."""
    outline = outline_of(path)
    wanted = set(evenly_spaced(outline.count, FRAMES))
    pictures = {frame.index: frame.image for frame in SparseReader(path, wanted, outline)}
    inverted = _face_score(map(cv2.bitwise_not, pictures.values()), detector)
    return inverted >= SURE and inverted >= LEAD + _face_score(pictures.values(), detector)


def _face_score(pictures: Iterable[np.ndarray], detector: FaceDetector) -> float:
    """Mean score of the best face, 0 to 1; 0 where there is none."""
    scores = [max((face.score for face in detector.detect(picture)), default=0.0)
              for picture in pictures]
    return float(np.mean(scores)) if scores else 0.0
