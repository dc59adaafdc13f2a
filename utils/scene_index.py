"""The scene index: what step 4 keeps of every source, one .npz file each.

`<scene root>/index/<video id>.npz`. A source is embedded once; the database grows and shrinks by
files, and a query reads only arrays: the embeddings of all (utils/embedding_index.py), the local
features of the few that look alike. What is read back is checked: an entry that is damaged or
tampered with counts as missing and is made again.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.files import InputError, read_arrays, read_json, write_arrays
from utils.gone import drop_file
from utils.layout import VideoRecord, fake_result_path, result_path
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
        record = VideoRecord.checked(settings.get("record"))
        if record is None or not _is_sound(arrays, record):
            return None
        ends = np.cumsum(arrays["keypoint_counts"])[:-1]
        parts = [np.split(arrays[name], ends)
                 for name in ("points", "descriptors", "on_background")]
        return cls(video_id, record, arrays["embeddings"],
                   [None if r[0] < 0 else r for r in arrays["rectangles"].tolist()],
                   arrays["keypoint_frames"].tolist(),
                   [Keypoints(*part) for part in zip(*parts, strict=True)])


# name -> kind and shape of the stored arrays; -1 stands for any length
_ARRAYS = {"embeddings": (np.float16, (-1, -1)), "rectangles": (np.int32, (-1, 4)),
           "keypoint_frames": (np.int32, (-1,)), "keypoint_counts": (np.int32, (-1,)),
           "points": (np.float32, (-1, 2)), "descriptors": (np.uint8, (-1, 128)),
           "on_background": (np.bool_, (-1,))}


def _is_sound(arrays: dict[str, np.ndarray], record: VideoRecord) -> bool:
    """Whether stored arrays have the kinds and shapes that write() gives, and fit together."""
    if not has_arrays(arrays, _ARRAYS):
        return False
    counts, points = arrays["keypoint_counts"], len(arrays["points"])
    return (len(arrays["embeddings"]) == len(arrays["rectangles"]) == len(record.frames)
            and arrays["embeddings"].shape[1] > 0
            and 0 < len(counts) == len(arrays["keypoint_frames"])
            and (counts >= 0).all() and int(counts.sum(dtype=np.int64)) == points
            and len(arrays["descriptors"]) == len(arrays["on_background"]) == points
            and set(arrays["keypoint_frames"].tolist()) <= set(record.frames)
            and np.isfinite(arrays["embeddings"]).all() and np.isfinite(arrays["points"]).all())


def has_arrays(arrays: dict[str, np.ndarray], wanted: dict[str, tuple[type, tuple]]) -> bool:
    """Whether arrays have the kinds and shapes wanted; -1 in a shape stands for any length."""
    return all(name in arrays and arrays[name].dtype == kind and arrays[name].ndim == len(shape)
               and all(side in (-1, length)
                       for side, length in zip(shape, arrays[name].shape, strict=True))
               for name, (kind, shape) in wanted.items())


def entry_settings(record: VideoRecord, settings: dict) -> dict:
    """What a stored entry must carry to count as fresh."""
    return {"version": INDEX_VERSION, "record": asdict(record), "settings": settings}


def read_embeddings(root: Path, video_id: str, record: VideoRecord,
                    settings: dict) -> np.ndarray | None:
    """Embeddings [F, D] float16 of an entry, without its keypoints, which are most of it; None
    when it was not made from this record with these settings, or cannot be used."""
    try:
        with np.load(entry_path(root, video_id), allow_pickle=False) as file:
            made_with = json.loads(file["settings"].tobytes())
            found = {"embeddings": file["embeddings"]}
    except Exception:  # damage surfaces in zipfile, NumPy and json in many ways
        return None
    sound = (made_with == entry_settings(record, settings)
             and has_arrays(found, {"embeddings": _ARRAYS["embeddings"]})
             and len(found["embeddings"]) == len(record.frames)
             and found["embeddings"].shape[1] > 0 and np.isfinite(found["embeddings"]).all())
    return found["embeddings"] if sound else None


def is_indexed(root: Path, video_id: str, record: VideoRecord, settings: dict) -> bool:
    """Whether the entry of a source was made from this record with these settings."""
    found = read_arrays(entry_path(root, video_id))
    return (found is not None and found[0] == entry_settings(record, settings)
            and _is_sound(found[1], record))


def entry_path(root: Path, video_id: str) -> Path:
    """File of one source's entry."""
    return result_path(Path(root) / "index", video_id, ".npz")


def drop_entries(root: Path, kept: Iterable[str]) -> None:
    """Remove the entries of sources whose id is not in `kept`."""
    keep = {entry_path(root, video_id) for video_id in kept}
    for path in sorted(set((Path(root) / "index").rglob("*.npz")) - keep):
        drop_file(path, Path(root) / "index")


def read_ranking(root: Path, fake_id: str) -> dict:
    """What step 4 wrote of a fake; without candidates when it has not seen it.

    Raises InputError when the file is damaged, or names a source outside its folder.
    """
    path = fake_result_path(root, fake_id)
    if not path.is_file():
        return {"candidates": []}
    found = read_json(path)
    candidates = found.get("candidates")
    if not (isinstance(found.get("fake"), str) and isinstance(candidates, list)
            and all(_is_candidate(candidate) for candidate in candidates)):
        raise InputError(f"{path}: not what step 4 writes; remove it and run step 4 again")
    for candidate in candidates:
        entry_path(root, candidate["source_id"])
    return found


_CANDIDATE = {"source": str, "source_id": str, "source_sha256": str, "scene_score": float,
              "angular_distance_rad": float, "inliers": int, "background_inliers": int,
              "verified": bool, "flip": int, "mapping": (list, type(None))}


def _is_candidate(data: object) -> bool:
    """Whether one candidate has all that later steps read."""
    if not isinstance(data, dict) or not all(isinstance(data.get(name), kind)
                                             for name, kind in _CANDIDATE.items()):
        return False
    if data["mapping"] is None:
        return not data["verified"]
    return (_is_table(data["mapping"], 2, 3)
            and isinstance(data.get("fake_frame"), int)
            and isinstance(data.get("source_frame"), int)
            and _is_table(data.get("fake_points"), None, 2)
            and _is_table(data.get("source_points"), None, 2))


def _is_table(rows: object, height: int | None, width: int) -> bool:
    """Whether rows are `height` lists of `width` numbers each."""
    return (isinstance(rows, list) and (height is None or len(rows) == height)
            and all(isinstance(row, list) and len(row) == width
                    and all(isinstance(value, (int, float)) and abs(value) < 1e9 for value in row)
                    for row in rows))


def indexed_ids(root: Path) -> list[str]:
    """Ids of all stored entries, sorted."""
    folder = Path(root) / "index"
    return sorted(file.relative_to(folder).with_suffix("").as_posix()
                  for file in folder.rglob("*.npz"))


def _joined(parts: list[np.ndarray], empty: tuple[int, ...], kind: type) -> np.ndarray:
    return np.concatenate([np.zeros(empty, kind), *parts]).astype(kind)
