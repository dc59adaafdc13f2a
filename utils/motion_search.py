"""Motion alone searches the database: for fakes whose scene leads nowhere."""

from collections.abc import Callable, Iterable

from models.motion import MotionGrid
from utils.matching import pair_scores, slide
from utils.source_motion import IndexedSource

FOUND = 10  # sources that motion may add to the candidates


def nearest_by_motion(fake: MotionGrid, fps: float, source_ids: Iterable[str],
                      load: Callable[[str], IndexedSource | None],
                      keep: int = FOUND) -> list[str]:
    """The sources in which a fake's motion fits best anywhere, best first.

    Person square onto person square, as it is and mirrored, frame by frame and at the ratio of the
    frame rates; utils.views looks closer at what is found. load: gives the stored motion of a
    source, None where there is nothing to compare.
    """
    ways = [fake.pooled(), fake.mirrored().pooled()]
    best: dict[str, float] = {}
    for source_id in source_ids:
        source = load(source_id)
        if source is None:
            continue
        curves = [slide(scores, rate, 0.5 if rate % 1 else 0.0)
                  for scores in (pair_scores(way, source.motion) for way in ways)
                  for rate in dict.fromkeys((1.0, source.fps / fps))]
        best[source_id] = max((float(curve.max()) for curve in curves if len(curve)), default=-1.0)
    return sorted(best, key=lambda source_id: -best[source_id])[:keep]


def by_motion_alone(source_id: str, candidates: list[dict], source: IndexedSource) -> dict:
    """A candidate that step 4 did not rank: its scene is no nearer than that of the last one."""
    scene_score = min((c["scene_score"] for c in candidates), default=0.0)
    return {"source": source.file, "source_id": source_id, "scene_score": scene_score,
            "inliers": 0, "background_inliers": 0, "verified": False, "flip": 0, "mapping": None}
