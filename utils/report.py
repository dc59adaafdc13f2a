"""report.html: the results of a run in one file that needs nothing else."""

import base64
from pathlib import Path

import cv2
import numpy as np
from jinja2 import Environment, FileSystemLoader

from utils.layout import InputError, frame_name, read_image, write_bytes
from utils.video import VideoError, VideoReader

THUMBNAIL_PX = 240
JPEG_QUALITY = 80
PLOT = (600, 90)  # width and height of a score curve, SVG units


def write_report(path: Path, results: list[dict], frame_root: Path, video_root: Path,
                 failed: dict[str, str]) -> None:
    """Write the report of a run.

    results: what step 5 wrote per fake; frame_root: frames of the fakes; video_root: sources;
    failed: items that could not be worked on, with the reason.
    """
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    cards = [card(found, frame_root, video_root) for found in results]
    verdicts = [found["traces"][0]["verdict"] for found in results]
    counts = {name: verdicts.count(name) for name in ("traced", "ambiguous", "no_source")}
    html = environment.get_template("report_template.html").render(
        cards=cards, counts=counts, failed=failed, plot=PLOT)
    write_bytes(path, html.encode("utf-8", "replace"))


def card(found: dict, frame_root: Path, video_root: Path) -> dict:
    """What the template shows of one fake."""
    trace = found["traces"][0]
    fake_id = str(Path(trace["fake"]).with_suffix("").as_posix())
    curve = found["stretches"][0]["score_curve"]
    return {**trace, "alternatives": found["stretches"][0]["alternatives"], "curve": polyline(curve),
            "curve_length": len(curve), "sha256": found["made_with"]["record"]["sha256"],
            "settings": found["made_with"]["settings"],
            "fake_picture": fake_picture(frame_root / fake_id, trace),
            "source_picture": source_picture(video_root, trace)}


def fake_picture(folder: Path, trace: dict) -> str | None:
    """First traced frame of the fake as a data address; None when it is not there."""
    try:
        return thumbnail(read_image(folder / frame_name(trace["fake_start_frame"])))
    except InputError:
        return None


def source_picture(video_root: Path, trace: dict) -> str | None:
    """The source frame that the fake's first frame came from, mirrored as in the fake."""
    if trace["start_frame"] is None:
        return None
    try:
        reader = VideoReader(video_root / trace["source"], wanted={trace["start_frame"]})
        frame = next(iter(reader), None)
    except VideoError:
        return None
    if frame is None:
        return None
    return thumbnail(frame.image[:, ::-1] if trace["flip"] else frame.image)


def thumbnail(image: np.ndarray) -> str:
    """Small JPEG of an image [H, W, 3] BGR as a data address."""
    scale = THUMBNAIL_PX / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def polyline(curve: list[float]) -> str:
    """Points of an SVG polyline; a score of -0.2 is at the bottom, 1 at the top."""
    width, height = PLOT
    x = np.linspace(0, width, len(curve)) if len(curve) > 1 else np.zeros(len(curve))
    y = height * (1 - (np.clip(curve, -0.2, 1) + 0.2) / 1.2)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y))
