"""Where fakes really came from: our truth.csv, or the names that public data sets give."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from utils.files import InputError
from utils.layout import VideoFile, find_videos
from utils.tables import read_table


@dataclass(frozen=True)
class Stretch:
    """A fake, or a stretch of one that was stitched from several. Frames are 0-based, inclusive."""

    fake: str  # file name under the fakes' root
    tier: str  # the kind of edit
    sources: tuple[str, ...]  # file names, any of them right; empty: not in the database
    start: int | None  # frame of the first source of its first frame; None: not known
    end: int | None  # of its last; None: source and fake number their frames alike from start on
    fake_start: int = 0  # frames of the fake
    fake_end: int | None = None  # None: to its end


def read_truth(path: Path) -> list[Stretch]:
    """Stretches of a CSV with the columns `fake,source,start_frame,end_frame` (an empty source is
    not in the database, and needs no frames) and, if known, `tier`, `frames` (of the whole fake),
    `fake_start_frame`, `fake_end_frame`. Raises InputError when it cannot be read or is empty."""
    rows = read_table(path)
    if not rows:
        raise InputError(f"{path}: no row in it; it needs the columns fake, source, start_frame, "
                         "end_frame")
    return [_stretch(row, path) for row in rows]


def _stretch(row: dict[str, str], path: Path) -> Stretch:
    if missing := {"fake", "source"} - set(row):
        raise InputError(f"{path}: no column {min(missing)}")

    def number(column: str, needed: bool = False) -> int | None:
        value = row.get(column)
        if not value and not needed:
            return None
        try:
            return int(value)
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, {row['fake']}: {column} is {value!r}, not a number; where "
                             "the source is not in the database leave it empty") from error

    known, frames, fake_end = bool(row["source"]), number("frames"), number("fake_end_frame")
    return Stretch(row["fake"], row.get("tier") or "fakes", (row["source"],) if known else (),
                   number("start_frame", known), number("end_frame", known),
                   number("fake_start_frame") or 0,
                   frames - 1 if fake_end is None and frames else fake_end)


# data set -> how a fake is named, how its sources are named, and an example
_PATTERNS = {
    "faketd1": (r"(.+)_fake_\d+", r"{0}_video_\d+", "scene_0000_fake_0008"),
    "faketd2": (r"(.+)_fake_\d+", r"{0}", "source_02_fake_04"),
    # target first, then the face's donor (Rössler et al. 2019): the frames are the target's
    "ffpp": (r"(\d{3})_\d{3}", r"{0}", "000_003"),
    # the original's person, the swapped one, the video's number (Li et al. 2020)
    "celebdf": (r"(id\d+)_id\d+_(\d+)", r"{0}_{1}", "id0_id1_0000"),
}
SCHEMES = (*_PATTERNS, "dfdc")


def truth_from_names(scheme: str, fake_root: Path, source_root: Path,
                     metadata: Path | None = None) -> list[Stretch]:
    """Stretches of all fakes of a folder, one each, from their names (one of SCHEMES).

    A fake whose original is not under source_root is one without a source here. The tier is the
    fake's folder (in FaceForensics++ the method), or the scheme. FakeTD-1 tells no frames; the
    other sets keep the source's frame numbers. metadata: DFDC's metadata.json, or a folder with
    any number of them. Raises InputError when a folder is empty or a name does not fit.
    """
    fakes, sources = find_videos(fake_root), find_videos(source_root)
    if scheme == "dfdc":
        originals = _read_dfdc(metadata if metadata is not None else fake_root)
        fakes = [fake for fake in fakes if originals.get(Path(fake.name).name) is not None]
        if not fakes:
            raise InputError(f"{fake_root}: none of its videos is a fake of the metadata")
        wanted = [re.escape(Path(originals[Path(fake.name).name]).stem) for fake in fakes]
    else:
        wanted = _expressions(scheme, fakes, fake_root)
    start = None if scheme == "faketd1" else 0
    return [Stretch(fake.name, str(Path(fake.name).parent) if "/" in fake.name else scheme,
                    tuple(s.name for s in sources if re.fullmatch(name, Path(s.name).stem)),
                    start, None)
            for fake, name in zip(fakes, wanted)]


def _expressions(scheme: str, fakes: list[VideoFile], fake_root: Path) -> list[str]:
    """For every fake, the regular expression that its sources' names match."""
    pattern, source, example = _PATTERNS[scheme]
    matches = [re.fullmatch(pattern, Path(fake.name).stem) for fake in fakes]
    odd = [fake.name for fake, match in zip(fakes, matches) if match is None]
    if odd:
        raise InputError(f"{fake_root}: {len(odd)} names do not look like {scheme}'s {example!r}, "
                         f"the first is {odd[0]!r}; move them away")
    return [source.format(*map(re.escape, match.groups())) for match in matches]


def _read_dfdc(path: Path) -> dict[str, str | None]:
    """Fake's file name -> original's, of one metadata.json or of all below a folder; None for a
    video that is no fake."""
    files = [path] if path.is_file() else sorted(path.rglob("metadata.json"))
    if not files:
        raise InputError(f"{path}: no metadata.json of DFDC here; name it with --metadata")
    originals: dict[str, str | None] = {}
    for file in files:
        for name, entry in _read_object(file).items():
            is_fake = isinstance(entry, dict) and entry.get("label") == "FAKE"
            originals[name] = entry.get("original") if is_fake else None
    return originals


def _read_object(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: not DFDC's metadata.json, which maps file names to labels")
    return content


def with_copies(truth: list[Stretch], groups: Sequence[Sequence[str]]) -> list[Stretch]:
    """The truth where any source of a group is right as well whose own source is one of it: they
    show the same footage. Raises InputError for a name that is in two groups."""
    known = [name for group in groups for name in set(group)]
    if len(known) > len(set(known)):
        raise InputError("--same-footage: a source is named twice; join the groups that share it")
    others = {name: tuple(other for other in dict.fromkeys(group) if other != name)
              for group in groups for name in group}
    return [replace(s, sources=tuple(dict.fromkeys(
        [*s.sources, *(other for name in s.sources for other in others.get(name, ()))])))
        for s in truth]


def by_fake(truth: list[Stretch]) -> dict[str, list[Stretch]]:
    """Stretches of every fake, in the order of the truth."""
    fakes: dict[str, list[Stretch]] = {}
    for stretch in truth:
        fakes.setdefault(stretch.fake, []).append(stretch)
    return fakes
