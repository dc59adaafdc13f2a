"""PNG files without loss, written and read fast.

Most of what writing a PNG costs is deflate. libdeflate's makes smaller files than OpenCV's encoder
at its fastest level, in less than half the time. (ISA-L's is faster still, but did not repeat
itself: one picture in a run came out as other bytes with the same pixels.) So the format's few
parts are put together here: signature, IHDR, one IDAT, IEND, as the PNG specification (W3C, third
edition) has them. Every row is filtered by the one above it (type 2, "Up"). What is known to be
made like this is also taken apart in less time than OpenCV needs.
"""

import struct

import cv2
import deflate
import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# libdeflate's level, 0 to 12, by channels: 1 is the fastest but where long runs are alike, as in
# masks and in what is cut out of a picture
LEVELS = {1: 2, 3: 1, 4: 2}
UP = 2  # filter type
MOST_PACKED = 1032  # times that deflate can make something smaller
# channels of a picture -> colour type of IHDR, and how OpenCV turns its order into PNG's, and back
COLOURS = {1: (0, None), 3: (2, cv2.COLOR_BGR2RGB), 4: (6, cv2.COLOR_BGRA2RGBA)}


def encode_png(image: np.ndarray) -> bytes:
    """A PNG file of [H, W] grey, [H, W, 3] BGR or [H, W, 4] BGRA, uint8.

    Raises ValueError for anything else.
    """
    channels = 1 if image.ndim == 2 else image.shape[-1]
    if image.dtype != np.uint8 or image.ndim not in (2, 3) or channels not in COLOURS \
            or (image.ndim == 3) != (channels > 1) or not image.size:
        raise ValueError(f"not a picture of 8 bits: {image.dtype} {image.shape}")
    colour, order = COLOURS[channels]
    height, width = image.shape[:2]
    rows = (image if order is None else cv2.cvtColor(image, order)).reshape(height, -1)
    filtered = np.empty((height, 1 + rows.shape[1]), np.uint8)
    filtered[:, 0] = UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])  # modulo 256, as the filter wants it
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return b"".join([SIGNATURE, _chunk(b"IHDR", header),
                     _chunk(b"IDAT", deflate.zlib_compress(filtered, LEVELS[channels])),
                     _chunk(b"IEND", b"")])


def decode_png(data: bytes) -> np.ndarray | None:
    """The picture in a file that encode_png() made; None for any other, or when it is damaged."""
    start, end = len(SIGNATURE) + 25, _chunk(b"IEND", b"")
    header, packed = data[start - 17:start - 4], memoryview(data)[start + 8:-len(end) - 4]
    if len(header) < 13 or data[:start] != SIGNATURE + _chunk(b"IHDR", header):
        return None
    width, height, depth, colour, *other = struct.unpack(">IIBBBBB", header)
    channels, order = next(((count, order) for count, (kind, order) in COLOURS.items()
                            if kind == colour), (0, None))
    if not channels or depth != 8 or any(other) or not width or not height:
        return None
    size = height * (1 + width * channels)
    if size > MOST_PACKED * len(packed) or data[start:] != _chunk(b"IDAT", packed) + end:
        return None
    try:
        raw = deflate.zlib_decompress(packed, size)
    except deflate.DeflateError:
        return None
    if len(raw) != size:
        return None
    filtered = np.frombuffer(raw, np.uint8).reshape(height, -1)
    if (filtered[:, 0] != UP).any():
        return None
    rows = filtered[:, 1:].copy()
    for above, row in zip(rows, rows[1:]):  # modulo 256
        np.add(row, above, out=row)
    image = rows.reshape(height, width, channels)
    return image[:, :, 0] if order is None else cv2.cvtColor(image, order)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Length, kind, data and checksum of a chunk."""
    check = deflate.crc32(data, deflate.crc32(kind))
    return b"".join([struct.pack(">I", len(data)), kind, data, struct.pack(">I", check)])
