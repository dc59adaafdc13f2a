"""Pictures come back from PNG files as they were, whoever wrote or reads them."""

import struct

import cv2
import deflate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image

from utils.files import InputError, read_image, write_image
from utils.png import _chunk, decode_png, encode_png

SIDES = st.integers(1, 40)
SHAPES = st.one_of(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES, st.sampled_from((3, 4))))


@settings(deadline=None, max_examples=60)
@given(image=SHAPES.flatmap(lambda shape: npst.arrays(np.uint8, shape)))
def test_every_picture_comes_back_as_it_was(image, tmp_path_factory):
    path = tmp_path_factory.mktemp("png") / "picture.png"
    write_image(path, image)
    assert np.array_equal(read_image(path), image)


@settings(deadline=None, max_examples=60)
@given(image=SHAPES.flatmap(lambda shape: npst.arrays(np.uint8, shape)))
def test_files_of_its_own_are_read_as_opencv_reads_them(image):
    data = encode_png(image)
    found = decode_png(data)
    assert found.flags.c_contiguous and found.flags.writeable
    assert np.array_equal(found, cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


PICTURE = cv2.GaussianBlur(np.random.default_rng(4).integers(0, 256, (30, 40, 3), np.uint8),
                           (0, 0), 2)


def test_files_of_others_are_left_to_opencv(tmp_path):
    for name, options in (("rows", []), ("packed", [cv2.IMWRITE_PNG_COMPRESSION, 9])):
        path = tmp_path / f"{name}.png"
        cv2.imwrite(str(path), PICTURE, options)
        assert decode_png(path.read_bytes()) is None
        assert np.array_equal(read_image(path), PICTURE)
    path = tmp_path / "deep.png"
    cv2.imwrite(str(path), PICTURE.astype(np.uint16) * 257)
    assert decode_png(path.read_bytes()) is None and read_image(path).dtype == np.uint16


@pytest.mark.parametrize("row", [0, 7, 29])
def test_a_row_with_another_filter_is_left_to_opencv(tmp_path, row):
    good = encode_png(PICTURE)
    filtered = bytearray(deflate.zlib_decompress(good[41:-16], 30 * 121))
    filtered[row * 121] = 0
    path = tmp_path / "picture.png"
    path.write_bytes(good[:33] + _chunk(b"IDAT", deflate.zlib_compress(bytes(filtered), 1))
                     + good[-12:])
    assert decode_png(path.read_bytes()) is None
    assert read_image(path).shape == PICTURE.shape


def test_whatever_is_cut_off_or_flipped_is_seen():
    good = encode_png(PICTURE)
    for end in range(len(good)):
        assert decode_png(good[:end]) is None
    for at in range(len(good)):
        assert decode_png(good[:at] + bytes([good[at] ^ 4]) + good[at + 1:]) is None
    assert decode_png(good + b"\0") is None and decode_png(b"") is None


def test_a_size_that_the_file_cannot_hold_takes_no_memory():
    good = encode_png(PICTURE)
    for width, height in ((2**31 - 1, 2**31 - 1), (60_000, 60_000), (0, 30), (40, 0)):
        header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        assert decode_png(good[:8] + _chunk(b"IHDR", header) + good[33:]) is None


def test_other_readers_take_it_for_the_same_picture(tmp_path):
    """Matplotlib's Pillow, which checks every checksum, sees the same colours."""
    rng = np.random.default_rng(3)
    image = cv2.GaussianBlur(rng.integers(0, 256, (90, 120, 4), np.uint8), (0, 0), 3)
    path = tmp_path / "picture.png"
    write_image(path, image)
    with Image.open(path) as picture:
        picture.verify()
    with Image.open(path) as picture:
        assert np.array_equal(np.asarray(picture), cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA))


def test_a_part_of_a_picture_that_is_not_contiguous():
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    for part in (image[2:9, 3:20], image[:, ::-1], image[::2, :, ::-1], image[..., 1]):
        data = np.frombuffer(encode_png(part), np.uint8)
        assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), part)


def test_files_are_no_larger_than_opencvs():
    rng = np.random.default_rng(5)
    image = cv2.GaussianBlur(rng.integers(0, 256, (256, 256, 3), np.uint8), (0, 0), 2)
    quick = cv2.imencode(".png", image, (cv2.IMWRITE_PNG_COMPRESSION, 1))[1]
    assert len(encode_png(image)) < 1.1 * len(quick)


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.float32), np.zeros((4, 4, 2), np.uint8),
                                   np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 1), np.uint8),
                                   np.zeros(4, np.uint8)])
def test_what_is_no_picture_is_refused(image):
    with pytest.raises(ValueError, match="not a picture"):
        encode_png(image)


@pytest.mark.parametrize("at", [20, 60, -10])
def test_a_flipped_byte_does_not_go_unseen_as_a_crash(tmp_path, at):
    """A damaged file is told, or read as some picture of its size; never anything else."""
    path = tmp_path / "picture.png"
    write_image(path, np.full((30, 30, 3), 90, np.uint8))
    data = bytearray(path.read_bytes())
    data[at] ^= 0xff
    path.write_bytes(data)
    try:
        assert read_image(path).dtype == np.uint8
    except InputError as error:
        assert "picture.png" in str(error)
