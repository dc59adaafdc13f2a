"""The straightforward way to trace a fake, as a baseline: what would it cost?

    python -m benchmarks.straightforward --video-root source_data --fake-root fake_data

Every background of the fake is compared with every sampled background of every source, both
embedded again for each pair (ResNet-50); the nearest sources are candidates. RAFT (torchvision's
raft_large, 32 updates) then runs at full resolution over every pair of neighbouring frames of the
fake and of each candidate, and the start is where the flows differ least. Nothing is kept between
fakes.

Run as a script it measures single pairs out of the given videos and extrapolates to all of them:

    embedding = seconds of a pair x sum over fakes (frames) x sum over sources (sampled frames)
    flow      = sum over fakes (pairs of the fake + candidates x mean over sources (its pairs))
                each pair at the seconds for its number of pixels, between measured sizes
                interpolated linearly

Measured: CPU seconds per pair, with one thread, which other programs on the machine disturb least;
they are divided by the number of cores, as if the work spread over them without any loss.
Extrapolated: all else. The weights are random, as the time does not depend on them (the answers
do). Decoding and segmentation are left out, in its favour.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch

from models.backgrounds import angular_distance
from models.scene import ResNet50, network_input
from models.segmenter import make_segmenter, person_mask
from models.torchvision_compat import torchvision
from utils.files import write_json
from utils.geometry import background_region, cut_out
from utils.layout import find_videos
from utils.video import VideoReader, probe

UPDATES = 32  # of RAFT
MULTIPLE, SMALLEST = 8, 128  # pixels; what RAFT's sides have to be
SAMPLES = 10  # backgrounds per source
CANDIDATES = 5  # sources whose flow is computed per fake
SIZES = 3  # picture sizes, from the set's smallest to its largest, at which flow is timed


class Straightforward:
    """The networks, with random weights."""

    def __init__(self, seed: int = 0, updates: int = UPDATES):
        torch.manual_seed(seed)
        self._updates = updates
        self._raft = torchvision.models.optical_flow.raft_large(weights=None).eval()
        self._embedder = ResNet50().eval()

    def distance(self, fake: np.ndarray, source: np.ndarray) -> float:
        """Angle between two backgrounds [H, W, 4] BGRA, radians; both are embedded."""
        one, other = (self._embed(background) for background in (fake, source))
        cosine = torch.nn.functional.cosine_similarity(one, other, dim=0)
        return float(angular_distance(float(cosine)))

    def flow(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """[H, W, 3] uint8 BGR, twice -> [H, W, 2] float32 pixels."""
        with torch.inference_mode():
            flow = self._raft(*(_raft_input(image) for image in (first, second)),
                              num_flow_updates=self._updates)[-1]
        height, width = first.shape[:2]
        return flow[0, :, :height, :width].permute(1, 2, 0).numpy()  # CxHxW -> HxWxC

    def trace(self, fake: list[np.ndarray], sources: dict[str, list[np.ndarray]],
              candidates: int = CANDIDATES) -> tuple[str, int]:
        """Source and start frame of a fake: frames [H, W, 3] BGR in, everything computed anew."""
        backs = backgrounds(fake)
        mean = {name: np.mean([[self.distance(back, other) for other in
                                backgrounds(frames[::max(1, len(frames) // SAMPLES)])]
                               for back in backs]) for name, frames in sources.items()}
        nearest = sorted(mean, key=mean.get)[:candidates]
        flows = self._flows(fake)
        found = {name: best_start(flows, self._flows(sources[name])) for name in nearest}
        name = min(found, key=lambda one: found[one][1])
        return name, found[name][0]

    def _flows(self, frames: list[np.ndarray]) -> list[np.ndarray]:
        return [self.flow(first, second) for first, second in pairwise(frames)]

    def _embed(self, background: np.ndarray) -> torch.Tensor:
        net = self._embedder
        with torch.inference_mode():
            return net(*network_input([background], net.side, net.pixel_mean, net.pixel_scale))[0]


def _raft_input(image: np.ndarray) -> torch.Tensor:
    """[H, W, 3] uint8 BGR -> [1, 3, H', W'] float in [-1, 1], RGB, padded by its edge."""
    rgb = torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    pad = [max(SMALLEST - side, -side % MULTIPLE) for side in rgb.shape[-2:]]
    return torch.nn.functional.pad(rgb, (0, pad[1], 0, pad[0]), mode="replicate")


def backgrounds(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Frames without their people, [H, W, 4] BGRA."""
    segmenter = make_segmenter()
    return [cut_out(image, background_region(person_mask(segmenter.probability(image))))
            for image in frames]


def best_start(fake: list[np.ndarray], source: list[np.ndarray]) -> tuple[int, float]:
    """Start at which the source's flows, scaled to the fake's size, differ least from the fake's,
    and the mean difference there in pixels (infinite where the source is too short)."""
    height, width = fake[0].shape[:2]
    scaled = [cv2.resize(flow, (width, height)) * np.float32([width / flow.shape[1],
                                                              height / flow.shape[0]])
              for flow in source]
    errors = [np.mean([np.linalg.norm(flow - scaled[start + index], axis=2).mean()
                       for index, flow in enumerate(fake)])
              for start in range(len(scaled) - len(fake) + 1)]
    return (int(np.argmin(errors)), float(min(errors))) if errors else (0, float("inf"))


@dataclass(frozen=True)
class Clip:
    """What of a video decides the cost."""

    frames: int
    pixels: int  # of one frame


@dataclass(frozen=True)
class Costs:
    """Measured CPU seconds."""

    embedded_pair_s: float  # both images of a pair of backgrounds
    flow_s: list[tuple[int, float]]  # pixels and seconds of a frame pair, by rising pixels

    def flow_of(self, clip: Clip) -> float:
        """CPU seconds for all pairs of neighbouring frames of a clip."""
        pixels, seconds = zip(*self.flow_s, strict=True)
        return (clip.frames - 1) * float(np.interp(clip.pixels, pixels, seconds))


@dataclass(frozen=True)
class Cost:
    """Extrapolated CPU seconds for a whole set."""

    embedding_s: float
    flow_s: float

    @property
    def cpu_s(self) -> float:
        return self.embedding_s + self.flow_s

    @property
    def wall_s(self) -> float:
        return self.cpu_s / (os.cpu_count() or 1)


def extrapolate(costs: Costs, fakes: Sequence[Clip], sources: Sequence[Clip],
                candidates: int = CANDIDATES, samples: int = SAMPLES) -> Cost:
    """The cost of tracing all fakes against all sources; the formula is at the top."""
    pairs = sum(f.frames for f in fakes) * sum(min(samples, s.frames) for s in sources)
    a_candidate = sum(costs.flow_of(source) for source in sources) / len(sources)
    tried = min(candidates, len(sources))
    return Cost(pairs * costs.embedded_pair_s,
                sum(costs.flow_of(fake) + tried * a_candidate for fake in fakes))


def measure(paths: Sequence[Path], clips: Sequence[Clip], pairs: int = 2) -> Costs:
    """CPU seconds per pair (the median of `pairs`), at the smallest, middle and largest size."""
    torch.set_num_threads(1)
    method = Straightforward()
    by_size = sorted(zip(clips, paths, strict=True), key=lambda item: item[0].pixels)
    chosen = [by_size[round(share * (len(by_size) - 1))] for share in np.linspace(0, 1, SIZES)]
    flow_s: dict[int, float] = {}
    for clip, path in chosen:
        images = [frame.image for frame in VideoReader(path, wanted=range(pairs + 1))]
        flow_s[clip.pixels] = _median_s(method.flow, list(pairwise(images)))
    backs = backgrounds(images)
    return Costs(_median_s(method.distance, [(backs[0], back) for back in backs]),
                 sorted(flow_s.items()))


def _median_s(work: Callable, arguments: list[tuple]) -> float:
    """Median CPU time of a call, after a first one that warms up."""
    work(*arguments[0])
    seconds = []
    for one in arguments:
        begun = time.process_time()
        work(*one)
        seconds.append(time.process_time() - begun)
    return float(np.median(seconds))


def main(video_root: Path = Path("demo/source_data"), fake_root: Path = Path("demo/fake_data"),
         candidates: int = CANDIDATES, pairs: int = 2, out: Path | None = None) -> Cost:
    """Measure a few pairs, extrapolate to the whole set, print both and write them as JSON."""
    videos = {name: find_videos(root) for name, root in (("fakes", fake_root),
                                                         ("sources", video_root))}
    infos = {name: [probe(video.path) for video in found] for name, found in videos.items()}
    clips = {name: [Clip(info.frames_expected, info.width * info.height) for info in found]
             for name, found in infos.items()}
    costs = measure([video.path for found in videos.values() for video in found],
                    [clip for found in clips.values() for clip in found], pairs)
    cost = extrapolate(costs, clips["fakes"], clips["sources"], candidates)
    print(f"measured, CPU time: {costs.embedded_pair_s:.3f} s per pair of backgrounds; flow: "
          + ", ".join(f"{seconds:.2f} s at {pixels} pixels" for pixels, seconds in costs.flow_s))
    print(f"extrapolated to {len(clips['fakes'])} fakes and {len(clips['sources'])} sources, "
          f"{candidates} candidates each: CPU time for embedding {cost.embedding_s / 3600:.1f} h, "
          f"for flow {cost.flow_s / 3600:.1f} h; {cost.wall_s / 3600:.1f} h on all cores")
    if out is not None:
        write_json(out, {"measured": asdict(costs), "candidates": candidates,
                         "extrapolated": {**asdict(cost), "cpu_s": cost.cpu_s,
                                                            "wall_s": cost.wall_s},
                         "fakes": len(clips["fakes"]),
                         "sources": len(clips["sources"])})
    return cost


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="What would tracing cost the straightforward way?")
    parser.add_argument("--video-root", type=Path, default=Path("demo/source_data"),
                        help="the sources (default: %(default)s)")
    parser.add_argument("--fake-root", type=Path, default=Path("demo/fake_data"),
                        help="the fakes (default: %(default)s)")
    parser.add_argument("--candidates", type=int, default=CANDIDATES,
                        help="sources whose flow is computed per fake (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=2,
                        help="pairs measured per picture size (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    main(**vars(parser.parse_args()))
