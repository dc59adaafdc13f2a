"""A small project after step 5, written directly: what the report needs, without running steps."""

import os
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from clips import person_frames, write_clip
from utils.files import write_arrays, write_image, write_json
from utils.layout import RECTANGLES_NAME, VideoRecord, fake_result_path, frame_name
from utils.report import write_reports
from utils.side_by_side import Roots

COUNT, LENGTH, START = 12, 40, 9  # frames of a fake and of the source; where the fakes were taken
SOURCE, SHA = "talk.mp4", "0" * 64
SIZE = 192  # pixels, both sides
HOSTILE = "<img src=x onerror=alert(1)>\"'&.mp4"
UNDECODABLE = os.fsdecode(b"sub/caf\xe9.mp4")  # no UTF-8
BACKWARDS = list(range(30, 18, -1))
FAILED = {"broken.mp4": "fake_data/broken.mp4: <b>not a video</b>"}
NOTHING = {"verdict": "no_source", "source": None, "start_frame": None, "end_frame": None,
           "start_time_s": None, "end_time_s": None, "rate": None, "flip": None}


def make_project(root: Path) -> tuple[Roots, list[dict]]:
    """Five fakes with their pages and videos: roots, and what step 5 wrote of each."""
    roots = make_roots(root)
    results = [
        add_fake(roots, "a plain.mp4", [{}]), add_fake(roots, HOSTILE, [{"confidence": 0.61}]),
        add_fake(roots, UNDECODABLE, [{**NOTHING, "confidence": 0.8}]),
        add_fake(roots, "unclear.mp4", [{"verdict": "ambiguous", "confidence": 0.3}]),
        add_fake(roots, "joined.mp4",
                 [{"fake_end_frame": 11, "start_frame": 0, "end_frame": 11},
                  {"fake_start_frame": 12, "start_frame": 30, "end_frame": 19, "rate": -1.0}],
                 [list(range(12)), BACKWARDS])]
    assert not write_reports(results, roots, FAILED, save_video=True, workers=1).failed
    return roots, results


def make_roots(root: Path) -> Roots:
    """Folders of a project with one source."""
    roots = Roots(root / "frames", root / "masks", root / "rects", root / "source_data",
                  root / "step5_flow_trace")
    write_clip(roots.videos / SOURCE, person_frames(1, LENGTH, "brick"), crf="18")
    write_arrays(roots.traces / "motion/talk.npz", {"source": asdict(record(SOURCE, LENGTH))},
                 {"square": np.array([10.0, 5, 180]), "times_s": np.arange(LENGTH) / 25,
                  "flow": np.zeros((LENGTH - 1, 12, 12, 2), np.float16)})
    return roots


def record(name: str, count: int) -> VideoRecord:
    """video.json of a made-up file."""
    return VideoRecord(name, 1000, SHA, 25.0, count, SIZE, SIZE, list(range(count)), {"mode": "x"})


def add_fake(roots: Roots, name: str, traces: list[dict], alignments: list[list[int]] = ()) -> dict:
    """Frames and result of one fake that shows the source's frames with a changed spot.

    traces: cells of its rows that differ from those of a traced fake; alignments: per row.
    """
    video_id = Path(name).with_suffix("").as_posix()
    given = [frame for alignment in alignments for frame in alignment]
    shown = given or range(START, START + COUNT)
    frames = list(person_frames(1, LENGTH, "brick"))
    for kind in (roots.frames, roots.masks):
        (kind / video_id).mkdir(parents=True)
    mask = cv2.ellipse(np.zeros((SIZE, SIZE), np.uint8), (96, 110), (60, 80), 0, 0, 360, 255, -1)
    for index, source_index in enumerate(shown):
        image = frames[source_index].copy()
        cv2.circle(image, (100, 80), 18, (30, 200, 240), -1)
        write_image(roots.frames / video_id / frame_name(index), image)
        write_image(roots.masks / video_id / frame_name(index), mask)
    write_json(roots.rects / video_id / RECTANGLES_NAME,
               {str(index): [36, 30, 120, 160] for index in range(len(shown))})
    found = result(name, len(shown), traces, alignments)
    write_json(fake_result_path(roots.traces, video_id), found)
    return found


def result(name: str, count: int, traces: list[dict], alignments: list[list[int]]) -> dict:
    """What step 5 writes for a fake."""
    points = [[20.0 + 10 * i, 30.0 + 7 * i] for i in range(8)]
    candidate = {"source": SOURCE, "source_id": "talk", "scene_score": 0.9,
                 "angular_distance_rad": 0.45, "inliers": 8, "background_inliers": 5,
                 "verified": True, "flip": 0, "mapping": [[1.0, 0.0, 0.5], [0.0, 1.0, 0.0]],
                 "fake_frame": 3, "source_frame": 12, "fake_points": points,
                 "source_points": points}
    made_with = {"record": asdict(record(name, count)),
                 "settings": {"flow": "dis", "segmenter": "selfie", "mask_every": 5},
                 "coefficients": [1.0], "candidates": [candidate], "unreadable": []}
    return {"schema": "fpvt-trace-1", "fake": name, "made_with": made_with,
            "traces": [trace(name, count) | cells for cells in traces],
            "stretches": [stretch(alignments[number] if alignments else [])
                          for number in range(len(traces))]}


def trace(name: str, count: int) -> dict:
    """The row of a traced fake."""
    return {"fake": name, "fake_start_frame": 0, "fake_end_frame": count - 1, "verdict": "traced",
            "source": SOURCE, "start_frame": START, "end_frame": START + COUNT - 1,
            "start_time_s": START / 25, "end_time_s": (START + COUNT - 1) / 25, "rate": 1.0,
            "flip": 0, "scene_score": 0.9, "motion_score": 0.93, "confidence": 0.95,
            "runner_up": None, "reason": "motion matches 0.93"}


def stretch(alignment: list[int]) -> dict:
    """What the row of a traced fake rests on."""
    places = [{"source": SOURCE, "start": start, "end": start + COUNT - 1, "rate": 1.0, "flip": 0,
               "motion_score": score, "pose_score": 0.6, "picture_score": 0.8, "pixel_score": 0.7,
               "certainty": 0.97, "scene_score": 0.9, "inliers": 8, "background_inliers": 5,
               "registered": True}
              for start, score in ((START, 0.93), (25, 0.4))]
    curve = [round(float(np.cos(start / 3)) / 2, 4) for start in range(LENGTH - COUNT + 1)]
    curve[START] = 0.93
    return {"alternatives": [place | {"probability": share}
                             for place, share in zip(places, (0.95, 0.02))],
            "no_source_probability": 0.03,
            "evidence": {"names": ["motion"], "frames": COUNT, "movement_px": 0.3,
                         "unchanged_share": 0.1, "values": [[0.93], [0.4]], "hypotheses": places},
            "score_curve": curve, "alignment": alignment,
            "mapping": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
            "agreement": [[None if row < 3 else 0.9 - 0.1 * column for column in range(12)]
                          for row in range(12)]}
