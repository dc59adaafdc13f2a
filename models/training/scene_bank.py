"""Pictures of scenes in memory, and person shapes, split by scene into training and test."""

import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from models.segmenter import make_segmenter, person_mask
from models.training.faketd_names import parse_name
from models.training.image_bank import PHOTO_SUFFIXES, held_out
from models.training.scene_pairs import Picture, portrait_backdrop
from utils.files import InputError
from utils.layout import VideoFile, evenly_spaced, find_videos
from utils.video import VideoReader, probe

SHORT_SIDE = 288  # pixels
FRAMES_PER_VIDEO = 12
SMALLEST_BACKGROUND = 0.03  # share of a frame; with less there is no scene to see


@dataclass
class SceneBank:
    """One half of the data."""

    pictures: list[Picture]
    masks: list[np.ndarray]  # person shapes [h, w] uint8, 0 or 255, without empty margins


def load_banks(images_dir: Path | None, videos_dir: Path | None,
               hold_out: Collection[str] = ()) -> tuple[SceneBank, SceneBank]:
    """The training half and the test half of two folders.

    Held out are the scenes that `hold_out` names, or where it names none in a folder every
    tenth by a hash. Raises InputError when a folder holds nothing or a half stays empty.
    """
    photos = list(_photo_pictures(images_dir)) if images_dir else []
    frames = list(_video_pictures(videos_dir)) if videos_dir else []
    test = _held_origins(photos, hold_out) | _held_origins(frames, hold_out)
    halves = []
    for name, kept in (("train on", False), ("test on", True)):
        chosen = [picture for picture in photos + frames if (picture.origin in test) == kept]
        if len({picture.origin for picture in chosen}) < 2:
            raise InputError(f"{images_dir or videos_dir}: fewer than two scenes to {name}; "
                             "give more files, or others to --hold-out")
        halves.append(SceneBank(chosen, person_shapes(chosen)))
    return halves[0], halves[1]


def _held_origins(pictures: list[Picture], named: Collection[str]) -> set[str]:
    # an ending is put on, because held_out() looks at a name without its ending
    origins = {Path(f"{picture.origin}.any"): picture.origin for picture in pictures}
    return {origins[path] for path in held_out(sorted(origins), named)}


def _photo_pictures(folder: Path) -> Iterator[Picture]:
    """Every photograph as it is, and a portrait's backdrop made of it."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    for path in sorted(folder.rglob("*")):
        image = cv2.imread(str(path)) if path.suffix.lower() in PHOTO_SUFFIXES else None
        if image is None:
            continue
        origin = path.relative_to(folder).with_suffix("").as_posix()
        rng = np.random.default_rng(zlib.crc32(origin.encode()))
        for kind, view in (("photo", image), ("backdrop", portrait_backdrop(rng, image))):
            view = _scaled(view)
            yield Picture(view, np.zeros(view.shape[:2], np.uint8), kind, origin)


def _video_pictures(folder: Path) -> Iterator[Picture]:
    """Frames of every video, with their persons; the scene is read from the name."""
    segmenter = make_segmenter()
    for video in find_videos(folder):
        for image in _frames(video):
            image = _scaled(image)
            person = person_mask(segmenter.probability(image))
            if (person == 0).mean() >= SMALLEST_BACKGROUND:
                yield Picture(image, person, "video", parse_name(video.name).scene)


def _frames(video: VideoFile) -> Iterator[np.ndarray]:
    wanted = evenly_spaced(probe(video.path).frames_expected, FRAMES_PER_VIDEO)
    for frame in VideoReader(video.path, wanted=set(wanted), threads=1):
        yield frame.image


def _scaled(image: np.ndarray) -> np.ndarray:
    scale = SHORT_SIDE / min(image.shape[:2])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=method)


def person_shapes(pictures: list[Picture]) -> list[np.ndarray]:
    """The persons of video frames, every third; head and shoulders drawn where there are none."""
    persons = [picture.person for picture in pictures if picture.person.any()][::3]
    return [_trimmed(person) for person in persons or [drawn_person()]]


def _trimmed(mask: np.ndarray) -> np.ndarray:
    x, y, width, height = cv2.boundingRect(mask)
    return mask[y:y + height, x:x + width]


def drawn_person() -> np.ndarray:
    """Head and shoulders: [200, 200] uint8, 0 or 255."""
    mask = np.zeros((200, 200), np.uint8)
    cv2.ellipse(mask, (100, 62), (42, 58), 0, 0, 360, 255, -1)
    cv2.ellipse(mask, (100, 200), (98, 88), 0, 180, 360, 255, -1)
    return mask
