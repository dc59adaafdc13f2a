"""What happens to a fake before and after it is published: one tier of edits each.

An edit has two sides: which source frames the fake shows, in what order (benchmarks/edit_times.py),
and what is done to the pictures, here. All choices come from the generator given, so that one seed
gives one fake.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np

from benchmarks import distortions
from models.segmenter import Segmenter

# tier -> constant rate factor of x264 (23 is its usual quality, 40 is coarse)
TIERS = {"clean": 23, "c40": 40, "geometry": 28, "temporal": 28, "overlay": 32, "lipsync": 23,
         "newback": 26, "tiny": 42, "extreme": 28, "reversed": 28, "dropped": 28, "pip": 28,
         "crop40": 28, "several": 34, "short": 28, "stitched": 28, "rewound": 28, "montage": 28,
         "zooming": 28, "handheld": 28, "closeup": 28, "lowfps": 28, "duet": 28, "reposted": 30,
         "slowmo": 28, "recoloured": 28, "stretched": 28, "angled": 28, "lens": 28, "grainy": 28,
         "pixelated": 28, "boomerang": 28, "looped": 28, "ramped": 28, "interpolated": 28,
         "split": 28, "farrate": 28, "jumpcuts": 28, "farzoom": 28,
         "cutaway": 28, "flipcuts": 28, "crossfades": 28,
         "transitions": 28}
GOING_OVER = (4, 6, 8, 10)  # frames in which a stretch goes over into the next, where it does
TWO_PERSONS = "split"  # its halves show two clips at a time
CUT_AWAY = (15, 41)  # frames of something else in a "cutaway", range
CAPTIONS = ("BREAKING NEWS", "You will not believe this", "LIVE", "Part 2 in the comments",
            "He really said it", "Sound on", "EXCLUSIVE interview", "follow for more")

Frames = list[np.ndarray]  # [H, W, 3] uint8 BGR each, all of one size
Transition = tuple[Callable[[np.ndarray, np.ndarray, float], np.ndarray], int]  # two pictures and
# the share, 0 to 1, that is over -> the picture shown; and its frames


@dataclass(frozen=True)
class Material:
    """What edits need beside the frames."""

    keypoints: np.ndarray | None  # [N, 6, 2] float32 pixels: the face in every frame
    backdrop: Frames  # pictures of another place: a clip's frames, or one photograph
    segmenter: Segmenter | None = None


@dataclass(frozen=True)
class Edited:
    """Frames after an edit, and what the truth table says of it."""

    frames: Frames = field(repr=False)
    flip: bool = False
    crop: float = 0.0  # share of the area that was cut away
    covered: tuple[int, int] | None = None  # first and last frame of those that show something else


def edit_pictures(tier: str, frames: Frames, material: Material,
                  rng: np.random.Generator) -> Edited:
    """Frames after the edit of a tier; tiers that only change time or quality leave them."""
    return _EDITS[tier](frames, material, rng) if tier in _EDITS else Edited(frames)


def crop(frames: Frames, keypoints: np.ndarray | None, share: float,
         rng: np.random.Generator) -> Frames:
    """Cut a share of the area away, at a random place that keeps the face where it can."""
    height, width = frames[0].shape[:2]
    across = min(1.0, np.sqrt(1 - share) * np.exp(rng.uniform(-0.06, 0.06)))
    size = np.array([width * across, height * min(1.0, (1 - share) / across)]).round()
    room = np.array([width, height]) - size
    low, high = np.zeros(2), room
    if keypoints is not None:
        face_low, face_high = keypoints.min(axis=(0, 1)), keypoints.max(axis=(0, 1))
        low = np.clip(face_high - size, 0, room)
        high = np.maximum(np.clip(face_low, 0, room), low)
    left, top = (low + rng.random(2) * (high - low)).astype(int)
    across, down = size.astype(int)
    return [frame[top:top + down, left:left + across] for frame in frames]


def resize(frames: Frames, width: int, height: int) -> Frames:
    """Frames of another size, in pixels."""
    method = cv2.INTER_AREA if width < frames[0].shape[1] else cv2.INTER_LINEAR
    return [cv2.resize(frame, (width, height), interpolation=method) for frame in frames]


def scale(frames: Frames, factor: float) -> Frames:
    """Frames enlarged or shrunk, their sides even."""
    height, width = frames[0].shape[:2]
    return resize(frames, 2 * max(8, round(width * factor / 2)),
                  2 * max(8, round(height * factor / 2)))


def mirror(frames: Frames) -> Frames:
    """Left and right exchanged."""
    return [cv2.flip(frame, 1) for frame in frames]


def rotate(frames: Frames, degrees: float) -> Frames:
    """Turned about the centre and enlarged so that no empty corner shows."""
    height, width = frames[0].shape[:2]
    sine, cosine = abs(np.sin(np.radians(degrees))), np.cos(np.radians(degrees))
    zoom = cosine + sine * max(width / height, height / width)
    turn = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, zoom)
    return [cv2.warpAffine(frame, turn, (width, height)) for frame in frames]


def border(frames: Frames, rng: np.random.Generator) -> Frames:
    """Bars of one colour: above and below, left and right, or all around."""
    height, width = frames[0].shape[:2]
    bar = rng.uniform(0.05, 0.16) * np.array(rng.permuted([[1, 0], [0, 1], [1, 1]])[0])
    down, across = (bar * (height, width)).astype(int).tolist()
    colour = rng.integers(0, 256, 3).tolist() if rng.random() < 0.4 else [0, 0, 0]
    return [cv2.copyMakeBorder(frame, down, down, across, across, cv2.BORDER_CONSTANT,
                               value=colour) for frame in frames]


def caption(frames: Frames, rng: np.random.Generator) -> Frames:
    """A bar with a line of text, at the bottom or the top, half transparent at times."""
    height, width = frames[0].shape[:2]
    tall = max(12, round(height * rng.uniform(0.1, 0.16)))
    top = 0 if rng.random() < 0.25 else height - tall
    colour = rng.integers(0, 256, 3)
    ink = (0, 0, 0) if colour.mean() > 128 else (255, 255, 255)
    bar = np.full((tall, width, 3), colour, np.uint8)
    text = str(rng.choice(CAPTIONS))
    (wide, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 1.0, 1)
    size = min(tall / 40, 0.9 * width / wide)
    cv2.putText(bar, text, (round(0.05 * width), round(0.7 * tall)), cv2.FONT_HERSHEY_DUPLEX,
                size, ink, 1, cv2.LINE_AA)
    opacity = float(rng.choice([0.65, 0.85, 1.0]))
    return [_paste(frame, bar, 0, top, opacity) for frame in frames]


def logo(frames: Frames, rng: np.random.Generator) -> Frames:
    """A disc with letters in an upper corner."""
    height, width = frames[0].shape[:2]
    side = max(12, round(min(height, width) * rng.uniform(0.1, 0.15)))
    badge = np.full((side, side, 3), rng.integers(0, 256, 3), np.uint8)
    cv2.circle(badge, (side // 2, side // 2), side // 2 - 1, rng.integers(0, 256, 3).tolist(), -1)
    letters = "".join(rng.choice(list("ABCDEKNRTVX"), 2))
    cv2.putText(badge, letters, (round(0.18 * side), round(0.65 * side)),
                cv2.FONT_HERSHEY_DUPLEX, side / 45, (255, 255, 255), 1, cv2.LINE_AA)
    left = side // 3 if rng.random() < 0.5 else width - side - side // 3
    return [_paste(frame, badge, left, side // 3, 1.0) for frame in frames]


def _paste(frame: np.ndarray, picture: np.ndarray, left: int, top: int,
           opacity: float = 1.0) -> np.ndarray:
    """A copy of the frame with a picture on it."""
    result = frame.copy()
    part = result[top:top + picture.shape[0], left:left + picture.shape[1]]
    picture = picture[:part.shape[0], :part.shape[1]]
    part[:] = cv2.addWeighted(picture, opacity, part, 1 - opacity, 0)
    return result


def replace_background(frames: Frames, backdrop: Frames, segmenter: Segmenter) -> Frames:
    """The person of every frame before another place."""
    height, width = frames[0].shape[:2]
    places = cover(backdrop, width, height)
    result = []
    for index, frame in enumerate(frames):
        alpha = np.clip(segmenter.probability(frame) * 2 - 0.5, 0, 1)[..., None]
        place = places[min(index, len(places) - 1)]
        result.append((place + alpha * (frame.astype(np.float32) - place)).astype(np.uint8))
    return result


def cover(frames: Frames, width: int, height: int) -> Frames:
    """Frames scaled to fill a size, what sticks out cut off evenly."""
    factor = max(width / frames[0].shape[1], height / frames[0].shape[0])
    wide = max(width, round(frames[0].shape[1] * factor))
    tall = max(height, round(frames[0].shape[0] * factor))
    left, top = (wide - width) // 2, (tall - height) // 2
    return [frame[top:top + height, left:left + width] for frame in resize(frames, wide, tall)]


def picture_in_picture(frames: Frames, backdrop: Frames, rng: np.random.Generator) -> Frames:
    """The frames as a small window on another video or picture."""
    height, width = frames[0].shape[:2]
    share = rng.uniform(0.45, 0.65)
    window = resize(frames, round(width * share), round(height * share))
    frame_width = int(rng.integers(0, 2)) * max(1, round(0.006 * width))
    places = cover(backdrop, width, height)
    room = np.array([width, height]) - (window[0].shape[1], window[0].shape[0])
    left, top = (rng.uniform(0.04, 0.96, 2) * room).astype(int).tolist()
    result = []
    for index, picture in enumerate(window):
        canvas = _paste(places[min(index, len(places) - 1)], picture, left, top)
        if frame_width:
            cv2.rectangle(canvas, (left, top), (left + picture.shape[1], top + picture.shape[0]),
                          (255, 255, 255), frame_width)
        result.append(canvas)
    return result


def beside_another(frames: Frames, other: Frames, rng: np.random.Generator) -> Frames:
    """The frames beside another video or picture, or above or below it, in halves of one size."""
    height, width = frames[0].shape[:2]
    places = cover(other, width, height)
    axis, before = int(rng.integers(0, 2)), bool(rng.random() < 0.5)
    pairs = [(frame, places[min(index, len(places) - 1)]) for index, frame in enumerate(frames)]
    return [np.concatenate(pair[::-1] if before else pair, axis=axis) for pair in pairs]


def cut_away(frames: Frames, other: Frames, rng: np.random.Generator) -> Edited:
    """The frames with another video, or a picture, in place of some: while the sound goes on, or as
    an opening or an ending."""
    count = min(int(rng.integers(*CUT_AWAY)), len(frames) // 3)
    around = (len(frames) - count) // 3  # frames before it and behind it, at least
    first = int(rng.choice([0, rng.integers(around, len(frames) - count - around + 1),
                            len(frames) - count]))
    places = cover(other, *frames[0].shape[1::-1])
    shown = [places[min(index, len(places) - 1)] for index in range(count)]
    return Edited([*frames[:first], *shown, *frames[first + count:]],
                  covered=(first, first + count - 1))


def is_turned(tier: str, number: int) -> bool:
    """Whether a stretch of a fake, counted from 0, is mirrored: in "flipcuts" every second one is,
    which hides where it goes on."""
    return tier == "flipcuts" and number % 2 == 1


def choose_transition(tier: str, rng: np.random.Generator) -> Transition | None:
    """How the stretches of a fake go over into each other, and in how many frames; None where they
    do not."""
    kinds = {"crossfades": (fade,), "transitions": (slide, whip, wipe)}.get(tier)
    if kinds is None:
        return None
    return kinds[int(rng.integers(len(kinds)))], int(rng.choice(GOING_OVER))


def go_over(frames: Frames, part: Frames, transition: Transition) -> Frames:
    """The frames and those of a part, whose first ones are shown together with the last ones."""
    mix, count = transition
    shares = np.arange(1, count + 1) / (count + 1)
    both = [mix(one, other, float(share))
            for one, other, share in zip(frames[-count:], part, shares)]
    return [*frames[:-count], *both, *part[count:]]


def fade(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """A picture that fades into another one."""
    return cv2.addWeighted(one, 1 - share, other, share, 0)


def slide(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """A picture that another one pushes out to the left."""
    gone = round(one.shape[1] * share)
    return np.hstack([one[:, gone:], other[:, :gone]])


def whip(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """A fast pan with motion blur, in the middle of which a picture is replaced."""
    width = one.shape[1]
    picture, moved = (one, share) if share <= 0.5 else (other, share - 1)
    blurred = cv2.blur(picture, (1 + 2 * round(0.3 * width * abs(moved)), 1))
    return np.roll(blurred, round(-width * moved), axis=1)


def wipe(one: np.ndarray, other: np.ndarray, share: float) -> np.ndarray:
    """A picture in which another one opens like an iris."""
    height, width = one.shape[:2]
    inside = np.zeros((height, width), np.uint8)
    cv2.circle(inside, (width // 2, height // 2), round(share * np.hypot(width, height) / 2), 1, -1)
    return np.where(inside[..., None] > 0, other, one)


def upright(frames: Frames) -> Frames:
    """A picture of 9 to 16, as telephones show it: the whole frame before itself, enlarged and
    blurred."""
    height, width = frames[0].shape[:2]
    canvas = width, max(round(width * 16 / 9), round(height * 1.25))
    top = (canvas[1] - height) // 2
    return [_paste(cv2.GaussianBlur(place, (0, 0), 0.03 * width), frame, 0, top)
            for frame, place in zip(frames, cover(frames, *canvas))]


def blended(frames: Frames) -> Frames:
    """Every second frame halfway between its neighbours: slow motion as editors make it."""
    return [cv2.addWeighted(frames[number - 1], 0.5, frame, 0.5, 0) if number % 2 else frame
            for number, frame in enumerate(frames)]


def recolour(frames: Frames, rng: np.random.Generator) -> Frames:
    """Grey, another hue, much contrast, or the negative."""
    kind = ("grey", "hue", "contrast", "negative")[int(rng.integers(4))]
    amount = float(rng.uniform(0.3, 1.0))
    levels = np.arange(256)
    curve = 255 / (1 + np.exp(-(levels - 128) / (128 * (0.6 - 0.4 * amount))))

    def one(frame: np.ndarray) -> np.ndarray:
        if kind == "grey":
            return cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
        if kind == "hue":
            hsv = cv2.cvtColor(frame, cv2.COLOR_BGR2HSV)
            hsv[..., 0] = (hsv[..., 0].astype(int) + round(90 * amount)) % 180
            return cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
        return cv2.LUT(frame, curve.astype(np.uint8)) if kind == "contrast" else 255 - frame

    return [one(frame) for frame in frames]


def _share_and_flip(least: float, most: float, rng: np.random.Generator) -> tuple[float, bool]:
    """Share of the area to cut away, and whether to mirror what is left."""
    return round(float(rng.uniform(least, most)), 2), bool(rng.random() < 0.5)


def _geometry(frames: Frames, material: Material, rng: np.random.Generator) -> Edited:
    share, flip = _share_and_flip(0.10, 0.26, rng)
    size = frames[0].shape[1::-1]
    frames = crop(frames, material.keypoints, share, rng)
    frames = rotate(frames, rng.uniform(-3, 3)) if rng.random() < 0.6 else frames
    frames = resize(frames, *size) if rng.random() < 0.5 else frames
    frames = mirror(frames) if flip else frames
    return Edited(border(frames, rng) if rng.random() < 0.3 else frames, flip, share)


def _crop40(frames: Frames, material: Material, rng: np.random.Generator) -> Edited:
    flip = bool(rng.random() < 0.5)
    frames = crop(frames, material.keypoints, 0.4, rng)
    return Edited(mirror(frames) if flip else frames, flip, 0.4)


def _closeup(frames: Frames, material: Material, rng: np.random.Generator) -> Edited:
    share, flip = _share_and_flip(0.65, 0.85, rng)
    size = frames[0].shape[1::-1]
    frames = crop(frames, material.keypoints, share, rng)
    frames = resize(frames, *size) if rng.random() < 0.5 else frames
    return Edited(mirror(frames) if flip else frames, flip, share)


def _several(frames: Frames, material: Material, rng: np.random.Generator) -> Edited:
    share, flip = _share_and_flip(0.10, 0.25, rng)
    frames = crop(frames, material.keypoints, share, rng)
    frames = mirror(frames) if flip else frames
    frames = scale(frames, rng.uniform(0.6, 1.0))
    frames = caption(frames, rng) if rng.random() < 0.7 else logo(frames, rng)
    return Edited(border(frames, rng) if rng.random() < 0.3 else frames, flip, share)


def _tiny(frames: Frames, material: Material, rng: np.random.Generator) -> Edited:
    return Edited(scale(frames, 160 / frames[0].shape[0]))


# The mouth's re-animation is done by make_fakes, in place of the face swap.
_EDITS: dict[str, Callable[[Frames, Material, np.random.Generator], Edited]] = {
    "c40": lambda frames, material, rng: Edited(scale(frames, 0.5)),
    "geometry": _geometry,
    "overlay": lambda frames, material, rng: Edited(logo(caption(frames, rng), rng)),
    "newback": lambda frames, material, rng: Edited(
        replace_background(frames, material.backdrop, material.segmenter)),
    "tiny": _tiny,
    "pip": lambda frames, material, rng: Edited(
        picture_in_picture(frames, material.backdrop, rng)),
    "crop40": _crop40,
    "closeup": _closeup,
    "several": _several,
    "zooming": lambda frames, material, rng: Edited(distortions.zoom_slowly(frames, rng)),
    "farzoom": lambda frames, material, rng: Edited(distortions.zoom_slowly(
        frames, rng, distortions.FAR_ZOOM, distortions.FAR_PAN)),
    "handheld": lambda frames, material, rng: Edited(distortions.film_from_a_hand(frames, rng)),
    "duet": lambda frames, material, rng: Edited(beside_another(frames, material.backdrop, rng)),
    "reposted": lambda frames, material, rng: Edited(upright(frames)),
    "slowmo": lambda frames, material, rng: Edited(blended(frames)),
    "recoloured": lambda frames, material, rng: Edited(recolour(frames, rng)),
    "stretched": lambda frames, material, rng: Edited(distortions.squeeze(frames, rng)),
    "angled": lambda frames, material, rng: Edited(distortions.film_at_an_angle(frames, rng)),
    "lens": lambda frames, material, rng: Edited(distortions.bend(frames, rng)),
    "grainy": lambda frames, material, rng: Edited(distortions.add_grain(frames, rng)),
    "pixelated": lambda frames, material, rng: Edited(
        distortions.pixelate_face(frames, material.keypoints)),
    "cutaway": lambda frames, material, rng: cut_away(frames, material.backdrop, rng),
    "interpolated": lambda frames, material, rng: Edited(distortions.interpolate(frames)),
}
