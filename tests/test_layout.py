"""Names, records and files that the steps hand to each other."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from models.fetch import sha256_of
from utils.files import (InputError, read_arrays, read_image, read_json, write_arrays, write_bytes,
                         write_image, write_json)
from utils.layout import (RECORD_NAME, RECTANGLES_NAME, VideoFile, VideoRecord, clear_folder,
                          evenly_spaced, find_videos, frame_name, fresh_folder, is_complete, largest_first,
                          video_folders)

SETTINGS = {"extract_num": 3}
HOSTILE = ["a b.mp4", "-rf.mp4", "é漢字.mp4", "<script>.mp4", "UPPER.MP4", "a.b.mkv", "%s{0}.mov",
           'quote"\'.webm', "line\nbreak.avi"]


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def record_of(video: VideoFile, **changes) -> VideoRecord:
    return VideoRecord(**{"file": video.name, "size": video.path.stat().st_size,
                          "sha256": sha256_of(video.path), "fps": 25.0, "frame_count": 9,
                          "width": 96, "height": 64, "frames": [1, 4, 7], "settings": SETTINGS,
                          **changes})


@pytest.fixture
def video(tmp_path) -> VideoFile:
    touch(tmp_path / "videos", "clip.mp4")
    return find_videos(tmp_path / "videos")[0]


def test_ids_are_paths_without_extension(tmp_path):
    touch(tmp_path, "b.mp4", "sub/deep/a.avi", "sub/b.webm", "a.MOV", "notes.txt", ".hidden.mp4")
    found = [(video.id, video.name) for video in find_videos(tmp_path)]
    assert found == [("a", "a.MOV"), ("b", "b.mp4"), ("sub/b", "sub/b.webm"),
                     ("sub/deep/a", "sub/deep/a.avi")]
    assert all(video.path == tmp_path / video.name for video in find_videos(tmp_path))


@pytest.mark.parametrize("name", HOSTILE)
def test_any_name_is_found(tmp_path, name):
    touch(tmp_path, name, "other.mp4")
    assert name in [video.name for video in find_videos(tmp_path)]
    assert find_videos(tmp_path / name) == [VideoFile(name.rpartition(".")[0], name,
                                                      tmp_path / name)]


@pytest.mark.parametrize("first, second", [("a.avi", "a.mp4"), ("sub/x.mkv", "sub/x.webm")])
def test_two_files_of_one_id_are_named(tmp_path, first, second):
    touch(tmp_path, first, second)
    with pytest.raises(InputError) as error:
        find_videos(tmp_path)
    assert str(tmp_path / first) in str(error.value) and str(tmp_path / second) in str(error.value)


def ids(root) -> list[str]:
    return [video.id for video in find_videos(root)]


def test_linked_folders_are_entered_once(tmp_path):
    root = touch(tmp_path / "root", "z/own.mp4").resolve()
    touch(tmp_path / "disk", "a.mp4", "deep/b.mp4", "c.mp4/d.mp4")
    for name, target in (("linked", "../disk"), ("again", "../disk/deep"), ("same", "z"),
                         ("z/of file", "../../disk/a.mp4"), ("called.mp4", "../disk")):
        (root / name).symlink_to(target)
    (root / "linked.mp4").symlink_to("../disk/a.mp4")
    # links in the order of their names; "z" keeps its own name, "linked" finds the rest of the disk
    assert ids(root) == ["again/b", "called.mp4/a", "called.mp4/c.mp4/d", "linked", "z/own"]
    assert all(video.path.is_file() and video.path.is_relative_to(root)
               for video in find_videos(root))


def test_links_that_lead_back_are_not_entered(tmp_path):
    root = touch(tmp_path / "above/root", "sub/own.mp4")
    touch(tmp_path, "above/secret.mp4", "disk/a.mp4", "disk of all/e.mp4", "disk2/f.mp4")
    for name, target in (("sub/root", ".."), ("sub/here", "."), ("up", "../.."), ("top", "/"),
                         ("up.mp4", ".."), ("disk", "../../disk"), ("../../disk/up", ".."),
                         ("../../disk/on", "../disk2"), ("../../disk2/back", "../disk")):
        (root / name).symlink_to(target)
    assert ids(root) == ["disk/a", "disk/on/f", "sub/own", "up"]
    unusable = next(video for video in find_videos(root) if video.id == "up")
    assert unusable.name == "up.mp4" and unusable.path.is_symlink()


def test_large_files_come_first_and_those_that_went_last(tmp_path):
    videos = find_videos(touch(tmp_path, "a.mp4", "gone.mp4", "long name.mp4", "b.mp4"))
    (tmp_path / "gone.mp4").unlink()
    assert [video.id for video in largest_first(videos)] == ["long name", "a", "b", "gone"]


def test_nothing_to_do_is_an_error(tmp_path):
    for root in (tmp_path / "missing", touch(tmp_path / "none", "notes.txt")):
        with pytest.raises(InputError, match=str(root)):
            find_videos(root)


def test_frame_names():
    assert [frame_name(index) for index in (0, 123, 999_999, 1_234_567)] == [
        "frame_000000.png", "frame_000123.png", "frame_999999.png", "frame_1234567.png"]


def test_only_what_a_step_wrote_is_cleared(tmp_path):
    ours = ["frame_000000.png", "frame_1234567.png", RECORD_NAME, RECTANGLES_NAME]
    others = ["frame_123.png", "frame_000123.jpg", "xframe_000123.png", "frame_000123.png.tmp",
              "frame_-00001.png", "frame_000001.png\n", "notes.txt"]
    clear_folder(touch(tmp_path, *ours, *others))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(others)


@pytest.mark.parametrize("count, number, wanted", [
    (100, 4, [12, 37, 62, 87]), (10, 1, [5]), (1, 10, [0]), (3, 10, [0, 1, 2]), (0, 5, []),
    (5, 5, [0, 1, 2, 3, 4])])
def test_evenly_spaced(count, number, wanted):
    assert evenly_spaced(count, number) == wanted


def test_evenly_spaced_never_repeats():
    for count in range(1, 60):
        for number in range(1, 20):
            chosen = evenly_spaced(count, number)
            assert len(set(chosen)) == len(chosen) == min(count, number)
            assert chosen == sorted(chosen) and 0 <= chosen[0] and chosen[-1] < count


def test_record_comes_back(tmp_path, video):
    record = record_of(video)
    record.write(tmp_path / "made")
    assert VideoRecord.read(tmp_path / "made") == record
    assert video_folders(tmp_path, "step 1") == {"made": record}


@pytest.mark.parametrize("change", [
    {"frames": "all"}, {"frames": [-1]}, {"frames": ["1"]}, {"settings": None}, {"file": 3},
    {"width": "96"}, {"fps": "fast"}, {"frame_count": 1.5}])
def test_a_tampered_record_is_no_record(tmp_path, video, change):
    record_of(video, **change).write(tmp_path)
    assert VideoRecord.read(tmp_path) is None


@pytest.mark.parametrize("text", ["", "[]", "null", "3", '{"file": "clip.mp4"}', '{"file": ',
                                  "\ufeff{}"])
def test_a_damaged_record_is_no_record(tmp_path, text):
    (tmp_path / RECORD_NAME).write_text(text, encoding="utf-8")
    assert VideoRecord.read(tmp_path) is None
    (tmp_path / RECORD_NAME).write_bytes(b"\xff\xfe\x00 binary")
    assert VideoRecord.read(tmp_path) is None
    with pytest.raises(InputError, match="run step 1 first"):
        video_folders(tmp_path, "step 1")


def test_a_record_that_lacks_a_field_is_no_record(tmp_path, video):
    record_of(video).write(tmp_path)
    data = json.loads((tmp_path / RECORD_NAME).read_text())
    for name in data:
        short = {key: value for key, value in data.items() if key != name}
        write_json(tmp_path / RECORD_NAME, short)
        assert VideoRecord.read(tmp_path) is None


def made_folder(folder: Path, video: VideoFile) -> None:
    """What a step would have made of a video, but for what its pictures show."""
    touch(folder, *map(frame_name, record_of(video).frames))
    record_of(video).write(folder)


def test_a_folder_without_all_it_should_hold_is_not_complete(tmp_path, video):
    pictures, rectangles = tmp_path / "pictures", tmp_path / "rectangles"
    made_folder(pictures, video)
    (pictures / frame_name(record_of(video).frames[-1])).unlink()
    assert not is_complete(pictures, video, SETTINGS)
    record_of(video).write(rectangles)
    assert not is_complete(rectangles, video, SETTINGS)
    touch(rectangles, RECTANGLES_NAME)
    assert is_complete(rectangles, video, SETTINGS)


def test_complete_until_content_settings_or_name_change(tmp_path, video):
    folder = tmp_path / "made"
    assert not is_complete(folder, video, SETTINGS)
    made_folder(folder, video)
    assert is_complete(folder, video, SETTINGS)
    assert not is_complete(folder, video, {"extract_num": 4})
    assert not is_complete(folder, VideoFile(video.id, "clip.avi", video.path), SETTINGS)
    content = video.path.read_bytes()
    video.path.write_bytes(content + b"more")
    assert not is_complete(folder, video, SETTINGS)
    video.path.write_bytes(content[::-1])  # the same size
    assert not is_complete(folder, video, SETTINGS)
    video.path.write_bytes(content)  # only the times differ
    assert is_complete(folder, video, SETTINGS)


def test_other_content_with_an_old_time_is_noticed(tmp_path, video):
    made_folder(tmp_path / "made", video)
    assert is_complete(tmp_path / "made", video, SETTINGS)
    video.path.write_bytes(video.path.read_bytes()[::-1])
    os.utime(video.path, (1_000_000_000, 1_000_000_000))  # as a copy that keeps times would have
    assert not is_complete(tmp_path / "made", video, SETTINGS)


def test_fresh_folder_replaces_what_was_there(tmp_path):
    touch(tmp_path / "root/clip", "frame_000009.png", RECORD_NAME)
    with fresh_folder(tmp_path / "root/clip") as temporary:
        (temporary / "frame_000001.png").write_bytes(b"new")
        assert (tmp_path / "root/clip/frame_000009.png").exists()  # the old one is there till then
    assert [file.name for file in (tmp_path / "root/clip").iterdir()] == ["frame_000001.png"]
    assert [file.name for file in (tmp_path / "root").iterdir()] == ["clip"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_fresh_folder_leaves_nothing_behind_on_failure(tmp_path, error):
    touch(tmp_path / "root/old", RECORD_NAME)
    for name in ("new", "old"):
        with pytest.raises(error):
            with fresh_folder(tmp_path / "root" / name) as temporary:
                (temporary / "frame_000001.png").write_bytes(b"part")
                raise error
    assert sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*")) == [
        "root", "root/old", f"root/old/{RECORD_NAME}"]


def test_a_video_id_that_begins_another_one(tmp_path, video):
    root = tmp_path / "root"
    for name in ("clip", "clip/inner", "clip"):  # clip.mp4 beside the folder clip/
        with fresh_folder(root / name) as temporary:
            (temporary / "frame_000001.png").write_bytes(name.encode())
            record_of(video).write(temporary)
    assert list(video_folders(root, "step 1")) == ["clip", "clip/inner"]
    assert (root / "clip/inner/frame_000001.png").read_bytes() == b"clip/inner"
    assert (root / "clip/frame_000001.png").read_bytes() == b"clip"


def test_unfinished_folders_are_not_seen(tmp_path, video):
    with pytest.raises(RuntimeError):
        with fresh_folder(tmp_path / "root/clip") as temporary:
            record_of(video).write(temporary)
            with pytest.raises(InputError):
                video_folders(tmp_path / "root", "step 1")
            raise RuntimeError


def test_write_is_all_or_nothing(tmp_path):
    write_bytes(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "file", "no bytes")
    with pytest.raises(ValueError):
        write_json(tmp_path / "file", {"value": float("nan")})
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_json_comes_back_with_any_text(tmp_path):
    data = {"name": "é漢字 <&>", "byte": os.fsdecode(b"\xff.mp4"), "none": None, "list": [1, 0.5]}
    write_json(tmp_path / "a.json", data)
    assert read_json(tmp_path / "a.json") == data


@pytest.mark.parametrize("text", ["", "[1]", "{", None])
def test_unreadable_json_names_the_file(tmp_path, text):
    if text is not None:
        (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match="a.json"):
        read_json(tmp_path / "a.json")


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"flow": rng.normal(size=(5, 4)).astype(np.float16), "none": np.zeros((0, 3)),
            "flags": np.array([True, False])}


def test_arrays_come_back_and_their_bytes_are_one(tmp_path):
    write_arrays(tmp_path / "a.npz", {"a": 1, "b": "é"}, arrays())
    write_arrays(tmp_path / "b.npz", {"b": "é", "a": 1}, arrays())
    settings, found = read_arrays(tmp_path / "a.npz")
    assert settings == {"a": 1, "b": "é"} and list(found) == list(arrays())
    for name, array in arrays().items():
        assert np.array_equal(found[name], array) and found[name].dtype == array.dtype
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_arrays_with_pickles_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", settings=np.frombuffer(b"{}", np.uint8),
             bad=np.array([{"a": 1}], object))
    assert read_arrays(tmp_path / "a.npz") is None


def test_damaged_arrays_are_none(tmp_path):
    path = tmp_path / "a.npz"
    assert read_arrays(path) is None
    write_arrays(path, {}, arrays())
    content = path.read_bytes()
    for part in (b"", b"text", content[:len(content) // 2], content[:100] + b"\0" * 60
                 + content[160:]):
        path.write_bytes(part)
        assert read_arrays(path) is None
    np.savez(path, **arrays())  # no settings
    assert read_arrays(path) is None


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
def test_pictures_come_back(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    write_image(tmp_path / "é 漢字.png", image)
    assert np.array_equal(read_image(tmp_path / "é 漢字.png"), image)


@pytest.mark.parametrize("content", [None, b"", b"no picture"])
def test_unreadable_pictures_are_named(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match="a.png"):
        read_image(tmp_path / "a.png")
