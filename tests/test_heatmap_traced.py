"""The heatmap measured on traced fakes: which pixels were changed is found again from the seed."""

import cv2
import numpy as np
import pytest

from benchmarks import face_swap, forge, heatmap_traced, make_fakes
from benchmarks.animate import animate
from clips import actor, place
from utils.files import InputError, read_json, write_image, write_json
from utils.layout import fake_result_path, frame_name
from utils.side_by_side import Roots, stretches_of
from utils.tables import read_table
from utils.video import VideoReader

TIERS, LENGTH, COUNT = ("lipsync", "geometry"), 8, 20
OPTIONS = {"fakes_per_source": 1, "seed": 4, "tiers": TIERS, "lengths": (LENGTH,), "absent": 0.0,
           "workers": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Clips, the set made from them, and what step 5 would have written of it."""
    root = tmp_path_factory.mktemp("traced")
    for number, photo in enumerate(("brick", "coffee")):
        (root / "clips").mkdir(exist_ok=True)
        frames = animate(actor(), place(photo), COUNT, 10.0, np.random.default_rng(number))
        forge.write_video(root / "clips" / f"{number}.mp4", frames, 25, 12)
    assert not make_fakes.main(root / "clips", root / "set", **OPTIONS).failed
    for row in read_table(root / "set/truth.csv"):
        add_result(root, row)
    return root


def add_result(root, row: dict[str, str]) -> None:
    """Frames and JSON of a fake that was traced as the truth has it."""
    stem = row["fake"].removesuffix(".mp4")
    (root / "frames" / stem).mkdir(parents=True)
    for frame in VideoReader(root / "set/fake_data" / row["fake"]):
        write_image(root / "frames" / stem / frame_name(frame.index), frame.image)
    height, width = frame.image.shape[:2]
    trace = {"fake_start_frame": 0, "fake_end_frame": LENGTH - 1, "source": row["source"],
             "start_frame": int(row["start_frame"]), "end_frame": int(row["end_frame"]),
             "rate": 1.0, "flip": int(row["flip"])}
    record = {"frames": list(range(LENGTH)), "width": width, "height": height}
    write_json(fake_result_path(root / "trace", stem), {
        "fake": row["fake"], "made_with": {"record": record, "candidates": []},
        "traces": [trace], "stretches": [{}]})


def measured(root, **options):
    return heatmap_traced.main(root / "clips", root / "set", **OPTIONS, **options,
                               frame_root=root / "frames", rect_root=root / "rects",
                               trace_root=root / "trace", out=root / "figures.json")


def test_the_changed_pixels_are_found_again(project):
    """Where the pixels of a fake are said to be changed it differs from its source, and not
    elsewhere: of the re-animated mouth, whose frames are laid out as the source's."""
    clips = make_fakes.read_clips(project / "clips", 0.0, OPTIONS["seed"])
    jobs = make_fakes.plan(clips, 1, OPTIONS["seed"], TIERS, (LENGTH,))
    job, = (job for job in jobs if job.tier == "lipsync")
    row, = (row for row in read_table(project / "set/truth.csv") if row["fake"] == job.name)
    changed = heatmap_traced.changed_in(job, clips)
    fakes = [frame.image for frame in VideoReader(project / "set/fake_data" / job.name)]
    sources = [frame.image for frame in VideoReader(job.clip.path) if frame.index >= int(
        row["start_frame"])][:LENGTH]
    apart = np.stack([cv2.absdiff(*pair).max(axis=2) for pair in zip(fakes, sources)])
    assert changed.shape == apart.shape and 0.0005 < changed.mean() < 0.1
    assert apart[changed].mean() > 2 * apart[~changed].mean() and apart[changed].mean() > 12


def test_figures_of_traced_fakes(project, capsys):
    assert measured(project).done == ["0_fake_00.mp4", "1_fake_00.mp4"]
    text = capsys.readouterr().out
    assert "lipsync       1     1" in text and "geometry      1     1" in text


def test_what_was_changed_moves_with_a_fake_that_was_steadied(project):
    """One that is moved as a whole has the figures of the fake as it is."""
    clips = make_fakes.read_clips(project / "clips", 0.0, OPTIONS["seed"])
    job, = (job for job in make_fakes.plan(clips, 1, OPTIONS["seed"], TIERS, (LENGTH,))
            if job.tier == "lipsync")
    changed = heatmap_traced.changed_in(job, clips)
    roots = Roots(project / "frames", project / "masks", project / "rects",
                  project / "set/source_data", project / "trace")
    result = read_json(fake_result_path(project / "trace", job.name.removesuffix(".mp4")))
    moved = result | {"steadied": [[[1.0, 0.0, 12.0], [0.0, 1.0, -9.0]]] * LENGTH}
    shown, steadied = (heatmap_traced.measure_traced(*stretches_of(one), one, roots, changed)
                       for one in (result, moved))
    assert shown["auroc"] > 0.8 and steadied["auroc"] == pytest.approx(shown["auroc"], abs=0.05)
    assert steadied["heat_inside"] > steadied["heat_outside"]


def test_a_fake_that_was_not_traced_has_no_heat(project, capsys, monkeypatch):
    monkeypatch.setattr(heatmap_traced, "read_json", lambda path: {
        "fake": "0_fake_00.mp4", "made_with": {"record": {"frames": [0]}},
        "traces": [{"fake_start_frame": 0, "fake_end_frame": 0, "source": None,
                    "start_frame": None}], "stretches": [{}]})
    assert measured(project).done == ["0_fake_00.mp4", "1_fake_00.mp4"]
    assert "lipsync       1     0" in capsys.readouterr().out


def test_without_step_5_is_an_error(project, tmp_path):
    with pytest.raises(InputError, match="step 5"):
        heatmap_traced.main(project / "clips", project / "set", **OPTIONS, trace_root=tmp_path)


def test_masks_of_a_pasted_face_and_of_a_moved_mouth():
    grey = [np.full((64, 64, 3), 90, np.uint8)] * 2
    moved = [grey[0].copy(), grey[1]]
    moved[0][40:44, 30:34] = 150
    masks = heatmap_traced.masks_of("lipsync", grey, moved, np.zeros((2, 6, 2)), None)
    assert masks[0].astype(bool).sum() == 3 * 16 and not masks[1].any()
    points = np.float32([[20, 20], [40, 20], [30, 30], [30, 40], [10, 25], [50, 25]])
    donor = face_swap.Donor(grey[0], points, face_swap.face_mask(points, (64, 64)))
    pasted, = heatmap_traced.masks_of("clean", grey[:1], grey[:1], points[None], donor)
    assert pasted[30, 30].tolist() == [255] * 3 and pasted[2, 2].tolist() == [0] * 3
