"""All files below a folder that may hold links to other folders."""

import os
from collections.abc import Iterator
from pathlib import Path

_Identity = tuple[int, int]  # of a folder: device and inode


def files_below(root: Path) -> Iterator[Path]:
    """Paths below a folder: of files, and of links to folders that are not entered.

    A link to a folder is entered, and what lies in it has paths through the link. Not entered are
    links to a folder that holds the link (it would never end, or lead out of the root) and to one
    that was walked already. Folders that lie below the root come first, so that what is in them
    keeps its plain path whatever is linked.
    """
    walked: set[_Identity] = set()
    starts = [Path(root)]
    while starts:
        links: list[Path] = []
        for start in starts:
            if start != root and not _leads_on(start, walked):
                yield start
                continue
            for parent, folders, files in os.walk(start):
                walked.add(_identity(parent))
                yield from (Path(parent, name) for name in files)
                links += [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
                # os.walk enters no links by itself
                folders[:] = [name for name in folders if _is_new(Path(parent, name), walked)]
        starts = sorted(links)


def _identity(folder: str | Path) -> _Identity | None:
    """None when the folder is gone or may not be seen."""
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_new(folder: Path, walked: set[_Identity]) -> bool:
    return _identity(folder) not in walked


def _leads_on(link: Path, walked: set[_Identity]) -> bool:
    """Whether a link leads to a folder that is new and does not hold the link itself."""
    target, here = os.path.realpath(link), os.path.realpath(link.parent)
    return _is_new(link, walked) and os.path.commonpath([target, here]) != target
