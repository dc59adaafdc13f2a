"""Pictures of matched points: of any frame of a source, found without decoding all before it."""

import base64
import json
import shutil

import cv2
import numpy as np
import pytest

from clips import HEIGHT, number_of, numbered, write_clip
from report_project import SOURCE, add_fake, make_roots
from utils import report_page, seek
from utils.evidence_pictures import MATCH_HEIGHT
from utils.files import write_arrays
from utils.report_page import match_data
from utils.side_by_side import frame_times
from utils.video import VideoReader

FAR, COUNT = 3200, 3300


@pytest.fixture(scope="module")
def far_project(tmp_path_factory):
    """A fake whose candidate is matched in frame FAR of a long source; roots and result."""
    roots = make_roots(tmp_path_factory.mktemp("far"))
    images = [numbered(number) for number in range(256)]
    clip = write_clip(roots.videos / SOURCE, (images[index % 256] for index in range(COUNT)),
                      bf="3", g="50", preset="ultrafast")
    times = np.array([frame.time_s for frame in VideoReader(clip)])
    facts = {"file": SOURCE, "size": clip.stat().st_size}
    write_arrays(roots.traces / "motion/talk.npz", {"source": facts},
                 {"square": np.array([10.0, 5, 40]), "times_s": times})
    result = add_fake(roots, "a.mp4", [{}])
    result["made_with"]["candidates"][0] |= {"source_frame": FAR, "fake_points": [],
                                             "source_points": []}
    return roots, result


def seen_number(picture: str) -> int:
    """The number in the source's half of a picture of matched points."""
    data = np.frombuffer(base64.b64decode(picture.partition(",")[2]), np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    width = image.shape[1] - round(MATCH_HEIGHT * 96 / HEIGHT)
    return number_of(image[:, width:])


def test_a_frame_far_into_its_source(far_project, monkeypatch):
    roots, result = far_project
    report_page.matched_frame.cache_clear()
    monkeypatch.setattr(seek, "_from_start", None)  # would raise
    picture = match_data(result["made_with"]["candidates"][0], result, roots)
    assert seen_number(picture) == FAR % 256


def test_without_step_5_s_times_it_is_decoded_from_the_start(far_project, tmp_path):
    roots, result = far_project
    shutil.copytree(roots.traces.parent, tmp_path / "copy")
    roots = type(roots)(*(tmp_path / "copy" / path.relative_to(roots.traces.parent) for path in (
        roots.frames, roots.masks, roots.rects, roots.videos, roots.traces)))
    shutil.rmtree(roots.traces / "motion")
    assert frame_times(roots, SOURCE) is None
    picture = match_data(result["made_with"]["candidates"][0], result, roots)
    assert seen_number(picture) == FAR % 256


def test_times_of_another_file_are_not_used(far_project):
    roots, _ = far_project
    assert len(frame_times(roots, SOURCE)) == COUNT
    path = roots.videos / SOURCE
    content = path.read_bytes()
    path.write_bytes(content + b"\0")
    try:
        assert frame_times(roots, SOURCE) is None
    finally:
        path.write_bytes(content)


def test_no_picture_of_a_frame_or_file_that_is_gone(far_project):
    roots, result = far_project
    candidate = json.loads(json.dumps(result["made_with"]["candidates"][0]))
    assert match_data(candidate | {"source_frame": COUNT + 5}, result, roots) is None
    assert match_data(candidate | {"source": "gone.mp4"}, result, roots) is None
