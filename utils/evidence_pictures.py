"""The pictures that the report shows, from arrays; and how a picture gets into a page."""

import base64

import cv2
import numpy as np

from models.motion import Square
from utils.flow_picture import flow_picture

JPEG_QUALITY = 66
MATCH_HEIGHT = 200  # pixels of a picture of matched points
MATCH_LINES = 40
HEAT_COLOURS = cv2.COLORMAP_INFERNO
FRAME_WEIGHT = 0.55  # brightness of the grey frame below heat
MOST_HEAT = 0.75  # opacity of full heat; the face below can still be made out
AGREE, DIFFER = (96, 150, 20), (40, 40, 200)  # BGR of cells that moved like the source, or not
LINE_COLOURS = [cv2.cvtColor(np.uint8([[[hue, 200, 255]]]), cv2.COLOR_HSV2BGR)[0, 0].tolist()
                for hue in range(0, 180, 15)]


def jpeg(image: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """[H, W, 3] uint8 BGR as a JPEG file."""
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, quality))
    if not done:
        raise OSError("a picture of the report cannot be encoded")
    return data.tobytes()


def address(data: bytes) -> str:
    """A JPEG file as a data address."""
    return "data:image/jpeg;base64," + base64.b64encode(data).decode()


def fitted(image: np.ndarray, side: int) -> np.ndarray:
    """The image with its longer side scaled to at most `side` pixels."""
    scale = min(1.0, side / max(image.shape[:2]))
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def heat_picture(frame: np.ndarray, heat: np.ndarray, covered: np.ndarray) -> np.ndarray:
    """Heat as colours over the grey frame; stripes where the pictures were not compared.

    frame: [H, W, 3] uint8 BGR; heat: [h, w] in [0, 1]; covered: [h, w] bool. Returns [H, W, 3].
    """
    size = frame.shape[1::-1]
    heat = np.clip(cv2.resize(heat, size), 0, 1)[..., None]
    grey = cv2.cvtColor(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR) * FRAME_WEIGHT
    colours = cv2.applyColorMap(np.uint8(255 * (0.25 + 0.75 * heat)), HEAT_COLOURS)
    weight = np.minimum(1.6 * heat, MOST_HEAT)
    picture = grey + weight * (colours - grey)
    outside = cv2.resize(covered.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) == 0
    rows, columns = np.indices(outside.shape)
    stripes = np.where((rows + columns) // 5 % 2 == 0, 150, 120)[..., None]
    return np.where(outside[..., None], stripes, picture).astype(np.uint8)


def masked_flow(flow: np.ndarray, mask: np.ndarray, scale: float) -> np.ndarray:
    """Flow [H, W, 2] as colours inside the person mask [H, W] bool, light grey outside."""
    return np.where(mask[..., None], flow_picture(flow, scale), 225).astype(np.uint8)


def outlined(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The image with the outline of a mask [H, W] bool drawn on it."""
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(image.copy(), edges, -1, (80, 230, 255), 1, cv2.LINE_AA)


def match_picture(fake: np.ndarray, source: np.ndarray, fake_points: np.ndarray,
                  source_points: np.ndarray) -> np.ndarray:
    """Two frames side by side, matched points joined by lines.

    fake_points, source_points: [N, 2] pixels of the two pictures.
    """
    pictures, places, left = [], [], 0
    for image, points in ((fake, fake_points), (source, source_points)):
        scale = MATCH_HEIGHT / image.shape[0]
        width = max(1, round(image.shape[1] * scale))
        pictures.append(cv2.resize(image, (width, MATCH_HEIGHT), interpolation=cv2.INTER_AREA))
        places.append(np.asarray(points, float).reshape(-1, 2) * scale + (left, 0))
        left += width + 6
    gap = np.full((MATCH_HEIGHT, 6, 3), 255, np.uint8)
    canvas = np.hstack([pictures[0], gap, pictures[1]])
    step = -(-len(places[0]) // MATCH_LINES) or 1
    for number, ends in enumerate(zip(places[0][::step], places[1][::step])):
        a, b = (tuple(int(round(value)) for value in end) for end in ends)
        colour = LINE_COLOURS[number * 5 % len(LINE_COLOURS)]
        cv2.line(canvas, a, b, colour, 1, cv2.LINE_AA)
        for end in (a, b):
            cv2.circle(canvas, end, 3, colour, 1, cv2.LINE_AA)
    return canvas


def agreement_picture(source: np.ndarray, square: Square, cells: list) -> np.ndarray:
    """A source frame with the cells of its person square: green moved alike, red otherwise.

    square: in pixels of this picture; cells: [G][G] values in [-1, 1], None where nobody is.
    """
    values = np.array([[np.nan if cell is None else cell for cell in row] for row in cells], float)
    x, y, side = square
    step = side / len(values)
    layer = source.copy()
    for row, column in np.argwhere(~np.isnan(values)):
        value = float(np.clip(values[row, column], 0, 1))
        colour = [value * a + (1 - value) * d for a, d in zip(AGREE, DIFFER)]
        corner = (round(x + column * step), round(y + row * step))
        other = (round(x + (column + 1) * step) - 1, round(y + (row + 1) * step) - 1)
        cv2.rectangle(layer, corner, other, colour, -1)
    return cv2.addWeighted(layer, 0.55, source, 0.45, 0)
