"""What the file names of FakeTD say: which videos show one scene, which one footage.

FakeTD-1: `scene_0000_video_0006.mp4` and `scene_0000_fake_0008.mp4` show the scene `scene_0000`;
which of its videos a fake was made from is not in the name. FakeTD-2: `source_02_fake_04.mp4`
was made from frames of `source_02.mp4`. The fakes of `benchmarks/make_fakes.py` are named in the
second manner, after any source.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath

from utils.files import InputError
from utils.layout import VideoRecord

NAMES = "names"  # in place of a table of the truth: what the names tell
_SCENE = re.compile(r"(?P<scene>scene_\d+)_(?P<kind>video|fake)_\d+")
_FAKE = re.compile(r"(?P<footage>.+)_fake_\d+")


@dataclass(frozen=True)
class ParsedName:
    """What a file name tells of a video."""

    scene: str  # the same for videos of the same place
    footage: str | None  # the same where frames are the same; None where the name cannot tell
    fake: bool


def parse_name(name: str) -> ParsedName:
    """Meaning of a video's name or path. A name of another form is a scene of its own.

    >>> parse_name("FakeTD-2/source_02_fake_04.mp4")
    ParsedName(scene='FakeTD-2/source_02', footage='FakeTD-2/source_02', fake=True)
    """
    path = PurePath(name).with_suffix("")
    if found := _SCENE.fullmatch(path.name):
        fake = found["kind"] == "fake"
        return ParsedName(path.with_name(found["scene"]).as_posix(),
                          None if fake else path.as_posix(), fake)
    found = _FAKE.fullmatch(path.name)
    footage = (path.with_name(found["footage"]) if found else path).as_posix()
    return ParsedName(footage, footage, bool(found))


def named_truth(fakes: Iterable[VideoRecord], sources: Iterable[str]) -> dict[str, dict[str, str]]:
    """Rows of a truth by fake, out of names alone: fake and source number their frames alike.

    fakes: what step 3 made; records of videos that are no fakes by their name, or whose name tells
    no footage (FakeTD-1), give no row. sources: file names. Folders do not count, since fakes and
    sources mostly lie in different ones. Raises InputError when two sources have one name.
    """
    footage: dict[str, str] = {}
    for name in sources:
        parsed = parse_name(name)
        key = PurePath(parsed.footage or name).name
        if not parsed.fake and footage.setdefault(key, name) != name:
            raise InputError(f"{name} and {footage[key]}: sources of one name; rename one, or give "
                             "a table of the truth")
    rows = {}
    for record in fakes:
        parsed = parse_name(record.file)
        source = footage.get(PurePath(parsed.footage).name) if parsed.footage else None
        if parsed.fake and source is not None:
            rows[record.file] = {"fake": record.file, "source": source, "tier": NAMES,
                                 "start_frame": str(record.frames[0]),
                                 "end_frame": str(record.frames[-1]), "speed": "1.0", "flip": "0"}
    return rows
