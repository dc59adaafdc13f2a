"""The README's picture: what the steps make of one fake of the demo, side by side.

    python -m benchmarks.demo_picture --demo demo --fake source_05_fake_00 --out benchmarks/demo.png
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch

from models.flow import DisFlow
from models.torchvision_compat import torchvision
from utils.files import read_image, read_json
from utils.layout import fake_result_path, frame_name
from utils.video import VideoReader

HEIGHT = 256  # pixels of every part
SQUARE = 12  # pixels of the chequerboard behind what was removed
AHEAD = 10  # frame of the fake that is shown
SPAN = 3  # frames over which the flow is shown


def main(demo: Path = Path("demo"), fake: str = "source_05_fake_00",
         out: Path = Path("benchmarks/demo.png")) -> Path:
    """Write the picture of a traced fake; returns its path."""
    demo = Path(demo)
    trace = read_json(fake_result_path(demo / "step5_flow_trace", fake))["traces"][0]
    index = trace["fake_start_frame"] + AHEAD
    frame = read_image(demo / "step3_fake_frames" / fake / frame_name(index))
    later = read_image(demo / "step3_fake_frames" / fake / frame_name(index + SPAN))
    back = read_image(demo / "step3_fake_backs" / fake / frame_name(index))
    mask = read_image(demo / "step3_fake_masks" / fake / frame_name(index))
    wanted = trace["start_frame"] + round(AHEAD * trace["rate"])
    source = next(iter(VideoReader(demo / "source_data" / trace["source"], wanted={wanted}))).image
    parts = [(frame, f"fake, frame {index}"), (on_chequers(back), "its background"),
             (flow_picture(frame, later, mask), "the person's motion"),
             (source, f"traced: {trace['source']}, frame {wanted}")]
    cv2.imwrite(str(out), np.hstack([labelled(picture, text) for picture, text in parts]))
    return Path(out)


def on_chequers(back: np.ndarray) -> np.ndarray:
    """[H, W, 4] BGRA -> [H, W, 3] BGR over a chequerboard."""
    row, column = np.indices(back.shape[:2]) // SQUARE
    board = np.where((row + column) % 2, 225, 250).astype(np.uint8)[..., None]
    return np.where(back[..., 3:] > 0, back[..., :3], board)


def flow_picture(first: np.ndarray, second: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Optical flow on the person in the usual colours, white elsewhere; [H, W, 3] BGR."""
    flow = DisFlow().flow(first[None], second[None])[0] * (mask > 0)[..., None]
    # HxWxC -> CxHxW and back, RGB -> BGR
    colours = torchvision.utils.flow_to_image(torch.from_numpy(flow).permute(2, 0, 1))
    return colours.permute(1, 2, 0).numpy()[..., ::-1]


def labelled(picture: np.ndarray, text: str) -> np.ndarray:
    """The picture scaled to HEIGHT with a line of text under it."""
    width = round(picture.shape[1] * HEIGHT / picture.shape[0])
    scaled = cv2.resize(picture, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    strip = np.full((28, width, 3), 255, np.uint8)
    cv2.putText(strip, text, (4, 19), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (40, 40, 40), 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(np.vstack([scaled, strip]), 4, 4, 4, 4, cv2.BORDER_CONSTANT,
                              value=(255, 255, 255))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The README's picture, from the finished demo.")
    parser.add_argument("--demo", type=Path, default=Path("demo"),
                        help="folder of the demo (default: %(default)s)")
    parser.add_argument("--fake", default="source_05_fake_00",
                        help="video id of the fake to show (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/demo.png"),
                        help="where the picture goes (default: %(default)s)")
    print(main(**vars(parser.parse_args())))
