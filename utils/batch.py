"""Running one step over many items: progress, errors that stop only their item, exit status."""

import argparse
import errno
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from tqdm import tqdm

from models.fetch import ModelFileError
from utils.files import InputError, read_json, write_json
from utils.interrupt import EXIT_INTERRUPTED
from utils.layout import FAILED_NAME
from utils.locks import InUse, in_hand
from utils.threads import libraries_on_one_thread, one_thread
from utils.video import VideoError

Item = TypeVar("Item")
Made = TypeVar("Made")
log = logging.getLogger("fpvt")
EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE = 0, 1, 2
NAMED = 10  # failed items that the summary names
_FULL = {errno.ENOSPC, errno.EDQUOT}
# control characters, line ends, and marks that turn the direction of text around
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_EXPECTED = (InputError, VideoError, ModelFileError, OSError)


class DiskFull(Exception):
    """No room for what a step writes; the text names the file and says what to do."""


@dataclass
class Summary:
    """What became of the items of a step."""

    done: list[str] = field(default_factory=list)  # item names
    skipped: list[str] = field(default_factory=list)  # complete from an earlier run
    failed: dict[str, str] = field(default_factory=dict)  # item name -> reason

    @property
    def exit_status(self) -> int:
        return EXIT_SOME_FAILED if self.failed else EXIT_OK

    def __str__(self) -> str:
        return (f"{len(self.done)} done, {len(self.skipped)} complete already, "
                f"{len(self.failed)} failed")


def run_batch(items: Iterable[Item], work: Callable[[Item], bool], *, name: Callable[[Item], str],
              label: str, workers: int = 0, root: Path | None = None) -> Summary:
    """Call `work` on every item, `workers` at a time (0: one per core), and count what came.

    work returns True when it did something and False when the item was complete already; what
    it raises is logged in one line and costs that item only. With `root`, where the items go, an
    item that another process has in hand is put off until that one has finished with it. Raises
    InputError when workers is negative or nothing may be written there, and DiskFull when there is
    no room left.
    """
    if workers < 0:
        raise InputError("--workers must be 0 or more")
    if root is not None:
        with suppress(OSError):
            root.mkdir(parents=True, exist_ok=True)
        if not root.is_dir() or not os.access(root, os.W_OK | os.X_OK):
            raise InputError(f"{root}: not a folder that may be written; give another one or "
                             "change its mode")
    summary, items = Summary(), list(items)
    workers = workers or os.cpu_count() or 1
    # workers fill the cores: libraries that start threads of their own would only get in the way,
    # and their sums would be rounded otherwise with every number of threads
    with libraries_on_one_thread(), ThreadPoolExecutor(workers, initializer=one_thread) as pool, \
            tqdm(total=len(items), desc=label, unit="video",
                 disable=None if log.isEnabledFor(logging.INFO) else True) as bar:
        for wait in (False, True):
            attempt = partial(_attempt, work=work, name=name, root=root, wait=wait)
            futures = {pool.submit(attempt, item): item for item in items}
            items = []
            try:
                for future in as_completed(futures):
                    if isinstance(future.exception(), InUse):
                        items.append(futures[future])
                        continue
                    _count(future, name(futures[future]), summary, root)
                    bar.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    for kept in (summary.done, summary.skipped):
        kept.sort()
    summary.failed = dict(sorted(summary.failed.items()))
    log.info("%s: %s", label, summary)
    return summary


def _attempt(item: Item, work: Callable[[Item], bool], name: Callable[[Item], str],
             root: Path | None, wait: bool) -> bool:
    """Work on one item, alone. Raises InUse when another process does and wait is False."""
    if root is None:
        return work(item)
    with in_hand(root, name(item), wait):
        return work(item)


def _count(future, name: str, summary: Summary, root: Path | None) -> None:
    """Sort one finished item into the summary. Raises DiskFull."""
    try:
        (summary.done if future.result() else summary.skipped).append(name)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise _disk_full(error, root) from error
        expected = isinstance(error, _EXPECTED)
        reason = str(error) if expected else f"{name}: unexpected {type(error).__name__}: {error}"
        reason = one_line(reason if name in reason else f"{name}: {reason}")
        summary.failed[name] = reason
        with tqdm.external_write_mode(sys.stderr):
            log.error("%s", reason)
            log.debug("%s", "".join(traceback.format_exception(error)))


def _disk_full(error: OSError, root: Path | None = None) -> DiskFull:
    where = error.filename or root or "the output"  # what fails while it is written has no name
    return DiskFull(f"{where}: {error.strerror.lower()}; make room and "
                    "run the same command again (what is finished is kept)")


def one_line(text: str) -> str:
    """Text without the line breaks and control characters that a file's name may have."""
    return _CONTROL.sub(lambda match: " " if match[0] in "\n\r\t" else f"\\u{ord(match[0]):04x}",
                        text)


def keep_failures(root: Path, summary: Summary, partly: bool = False,
                  before: Mapping[str, str] = MappingProxyType({})) -> None:
    """Write which items failed, and why, to `failed.json` in a step's root; none, no file.

    partly: only some of the items were asked for, and what is known of the others stays; before:
    those that failed in the steps before, so that they are missing here.
    """
    path, known = Path(root) / FAILED_NAME, read_failures(root)
    others = set(known) - {*summary.done, *summary.skipped} if partly else ()
    failed = dict(sorted((dict(before) | {name: known[name] for name in others}
                          | summary.failed).items()))
    if not failed:
        path.unlink(missing_ok=True)
    elif not path.is_file() or known != failed:
        write_json(path, failed)
    if not summary.failed:
        return
    names = [one_line(name) for name in list(summary.failed)[:NAMED]]
    more = ", ..." if len(summary.failed) > NAMED else ""
    log.info("failed, with the reasons in %s: %s%s", path, ", ".join(names), more)


def read_failures(root: Path) -> dict[str, str]:
    """What keep_failures() wrote of a step: reasons by name; none, when all went well."""
    try:
        found = read_json(Path(root) / FAILED_NAME)
    except InputError:
        return {}
    return {name: reason for name, reason in found.items() if isinstance(reason, str)}


def per_thread(make: Callable[[], Made]) -> Callable[[], Made]:
    """A getter that calls `make` once in each thread: for objects that serve one thread only."""
    local = threading.local()

    def get() -> Made:
        if not hasattr(local, "made"):
            local.made = make()
        return local.made
    return get


def pick_device(name: str, *, needed: bool = True) -> str:
    """`cpu` or `cuda` for --device auto, cpu or cuda. Raises InputError when there is no GPU.

    needed: whether any network runs in PyTorch, which takes a second to import.
    """
    if name == "cpu" or name == "auto" and not needed:
        return "cpu"
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this PyTorch sees no CUDA device; use --device cpu")
    return "cuda" if torch.cuda.is_available() else "cpu"


def add_common_options(parser: argparse.ArgumentParser, *, device: bool = False) -> None:
    """The options that all steps share."""
    if device:
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto",
                            help="where the networks run; auto takes a GPU when there is one "
                                 "(default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0,
                        help="videos worked on at the same time; 0 for one per core "
                             "(default: %(default)s)")
    parser.add_argument("--overwrite", action="store_true",
                        help="make everything again, also what is complete")
    volume = parser.add_mutually_exclusive_group()
    volume.add_argument("-v", "--verbose", action="store_true", help="say more, tracebacks too")
    volume.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")


def add_segmenter_options(parser: argparse.ArgumentParser) -> None:
    """The options of the steps that find people."""
    parser.add_argument("--segmenter", choices=("selfie", "deeplabv3"), default="selfie",
                        help="network that finds people (default: %(default)s)")
    parser.add_argument("--segmenter-model", type=Path, default=None,
                        help="its model file (default: fetched once and cached)")


def run_step(main: Callable[..., Summary], parser: argparse.ArgumentParser) -> None:
    """Parse the command line, run a step's main() with it, and exit with its status.

    0: all fine; 1: some items failed; 2: wrong usage or missing input; 130: interrupted.
    """
    options = vars(parser.parse_args())
    verbose, quiet = options.pop("verbose"), options.pop("quiet")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_OneLine("%(message)s"))
    logging.basicConfig(handlers=[handler])
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    try:
        status = main(**options).exit_status
    except DiskFull as error:
        log.error("%s", error)
        status = EXIT_SOME_FAILED
    except _EXPECTED as error:
        full = isinstance(error, OSError) and error.errno in _FULL
        log.error("%s: %s", parser.prog, _disk_full(error) if full else error)
        log.debug("%s", traceback.format_exc())
        status = EXIT_SOME_FAILED if full else EXIT_USAGE
    except KeyboardInterrupt:  # main() in another program's process, without stop_quietly()
        log.error("interrupted; run the same command again to go on")
        status = EXIT_INTERRUPTED
    sys.exit(status)


class _OneLine(logging.Formatter):
    """Messages in one line each, whatever the names in them; tracebacks stay as they are."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if record.levelno <= logging.DEBUG else one_line(text)
