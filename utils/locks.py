"""Files in the making, and who makes them: locks, temporary files, what killed processes left.

A lock is a small file, `.<32 hex digits>.lock`, that its owner holds with flock(2). The kernel lets
go of it when the process ends, however it ends, so a lock file without a live owner is simply free:
nothing has to be guessed from process numbers or clocks. Linux passes flock on to NFS servers
(since 2.6.12), so this holds between machines on one shared folder too. Every temporary file or
folder `.<32 hex digits>.tmp` has a lock of the same name beside it. Where a file system has no
locks, work goes on without them and nothing is taken for left over.
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: no locks, one process at a time
    fcntl = None

_OURS = re.compile(r"\.([0-9a-f]{32})\.(?:tmp|lock)")
_NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EROFS, errno.EACCES,
             errno.EPERM}


class InUse(Exception):
    """Another process has this item in hand."""


@contextlib.contextmanager
def in_hand(root: Path, item: str, wait: bool = True) -> Iterator[None]:
    """Keep other processes off one item of a root folder.

    Raises InUse when another one has it and wait is False.
    """
    # a name of fixed length: the item's own may be as long as the file system allows
    key = hashlib.sha256(os.fsencode(item)).hexdigest()[:32]
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    with _held(root / f".{key}.lock", wait):
        yield


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A path for a temporary file or folder beside `path`, removed at the end if still there."""
    key = uuid.uuid4().hex
    temporary = path.with_name(f".{key}.tmp")
    with _held(path.with_name(f".{key}.lock")):
        try:
            yield temporary
        finally:
            _remove(temporary)


def is_temporary(name: str) -> bool:
    """Whether a file or folder name is that of a temporary one or of a lock."""
    return _OURS.fullmatch(name) is not None


def remove_leftovers(root: Path) -> None:
    """Remove temporary files and locks under a root whose process is gone."""
    for parent, folders, files in os.walk(root):
        keys = {match[1] for name in [*folders, *files] if (match := _OURS.fullmatch(name))}
        folders[:] = [name for name in folders if not is_temporary(name)]
        for key in keys:
            _remove_if_free(Path(parent), key)


def _remove_if_free(parent: Path, key: str) -> None:
    with contextlib.suppress(InUse, OSError), \
            _held(parent / f".{key}.lock", wait=False, needed=True):
        _remove(parent / f".{key}.tmp")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


@contextlib.contextmanager
def _held(path: Path, wait: bool = True, needed: bool = False) -> Iterator[None]:
    """Hold a lock file, and remove it at the end.

    Raises InUse when it is held elsewhere and wait is False; OSError, when `needed`, where there
    are no locks.
    """
    try:
        handle = _acquire(path, wait)
    except OSError as error:
        if needed or error.errno not in _NO_LOCKS:
            raise
        handle = None
    try:
        yield
    finally:
        if handle is not None:
            # removed while held: who waits for this file finds that it is no longer the lock
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(handle)


def _acquire(path: Path, wait: bool) -> int:
    """Descriptor of the locked file."""
    if fcntl is None:
        raise OSError(errno.ENOLCK, "no locks on this system")
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if _is_still(path, handle):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise InUse(path) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    """Whether a path names the opened file: its last owner may have removed it meanwhile."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(handle))
    except FileNotFoundError:
        return False
