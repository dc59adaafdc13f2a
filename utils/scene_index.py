"""The scene index: what step 4 keeps of every source, one .npz file each.

`<scene root>/index/<video id>.npz`. A source is embedded once; the database grows and shrinks by
files, and a query reads only arrays.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.layout import VideoRecord, read_arrays, write_arrays
from utils.registration import Keypoints

INDEX_VERSION = 1


@dataclass(frozen=True)
class SceneEntry:
    """One indexed source."""

    id: str
    record: VideoRecord  # of the source's backgrounds
    embeddings: np.ndarray  # [F, D] float16, unit vectors of its sampled frames
    rectangles: list[list[int] | None]  # [x, y, w, h] of the person in the sampled frames, pixels
    keypoint_frames: list[int]  # frames with local features
    keypoints: list[Keypoints]  # of those frames

    def write(self, root: Path, settings: dict) -> None:
        """Store the entry; `settings` says what it was made with."""
        boxes = [r or [-1, -1, -1, -1] for r in self.rectangles]
        counts = [len(k.points) for k in self.keypoints]
        write_arrays(entry_path(root, self.id), entry_settings(self.record, settings), {
            "embeddings": self.embeddings.astype(np.float16),
            "rectangles": np.array(boxes, np.int32).reshape(-1, 4),
            "keypoint_frames": np.array(self.keypoint_frames, np.int32),
            "keypoint_counts": np.array(counts, np.int32),
            "points": _joined([k.points for k in self.keypoints], (0, 2), np.float32),
            "descriptors": _joined([k.descriptors for k in self.keypoints], (0, 128), np.uint8),
            "on_background": _joined([k.on_background for k in self.keypoints], (0,), bool),
        })

    @classmethod
    def read(cls, root: Path, video_id: str) -> "SceneEntry | None":
        """The stored entry of a source; None when there is none that can be used."""
        found = read_arrays(entry_path(root, video_id))
        if found is None:
            return None
        settings, arrays = found
        try:
            record = VideoRecord(**settings["record"])
            ends = np.cumsum(arrays["keypoint_counts"])[:-1]
            parts = [np.split(arrays[name], ends)
                     for name in ("points", "descriptors", "on_background")]
            return cls(video_id, record, arrays["embeddings"],
                       [None if r[0] < 0 else r for r in arrays["rectangles"].tolist()],
                       arrays["keypoint_frames"].tolist(),
                       [Keypoints(*part) for part in zip(*parts)])
        except (KeyError, TypeError, ValueError):
            return None


def entry_settings(record: VideoRecord, settings: dict) -> dict:
    """What a stored entry must carry to count as fresh."""
    return {"version": INDEX_VERSION, "record": asdict(record), "settings": settings}


def is_indexed(root: Path, video_id: str, record: VideoRecord, settings: dict) -> bool:
    """Whether the entry of a source was made from this record with these settings."""
    found = read_arrays(entry_path(root, video_id))
    return found is not None and found[0] == entry_settings(record, settings)


def entry_path(root: Path, video_id: str) -> Path:
    """File of one source's entry."""
    return Path(root) / "index" / f"{video_id}.npz"


def indexed_ids(root: Path) -> list[str]:
    """Ids of all stored entries, sorted."""
    folder = Path(root) / "index"
    return sorted(file.relative_to(folder).with_suffix("").as_posix()
                  for file in folder.rglob("*.npz"))


def _joined(parts: list[np.ndarray], empty: tuple[int, ...], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(empty, kind), *parts]).astype(kind)
