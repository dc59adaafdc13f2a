"""Running one step over many items: progress, errors that stop only their item, exit status."""

import argparse
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from threadpoolctl import threadpool_limits
from tqdm import tqdm

from models.fetch import ModelFileError
from utils.layout import RECORD_NAME, InputError, VideoFile
from utils.video import VideoError

Item = TypeVar("Item")
Made = TypeVar("Made")
log = logging.getLogger("fpvt")
EXIT_OK, EXIT_SOME_FAILED, EXIT_USAGE, EXIT_INTERRUPTED = 0, 1, 2, 130
_EXPECTED = (InputError, VideoError, ModelFileError, OSError)


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
              label: str, workers: int = 0) -> Summary:
    """Call `work` on every item, `workers` at a time (0: one per core), and count what came.

    work returns True when it did something and False when the item was complete already; what
    it raises is logged in one line and costs that item only. Raises InputError when workers is
    negative.
    """
    if workers < 0:
        raise InputError("--workers must be 0 or more")
    summary, items, cores = Summary(), list(items), os.cpu_count() or 1
    workers = workers or cores
    # workers fill the cores: libraries that start threads of their own would only get in the way
    with threadpool_limits(max(1, cores // workers)), ThreadPoolExecutor(workers) as pool:
        names = {pool.submit(work, item): name(item) for item in items}
        bar = tqdm(as_completed(names), total=len(items), desc=label, unit="video",
                   disable=None if log.isEnabledFor(logging.INFO) else True)
        try:
            for future in bar:
                _count(future, names[future], summary)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    for kept in (summary.done, summary.skipped):
        kept.sort()
    summary.failed = dict(sorted(summary.failed.items()))
    log.info("%s: %s", label, summary)
    return summary


def _count(future, name: str, summary: Summary) -> None:
    """Sort one finished item into the summary."""
    try:
        (summary.done if future.result() else summary.skipped).append(name)
    except Exception as error:
        expected = isinstance(error, _EXPECTED)
        reason = str(error) if expected else f"{name}: unexpected {type(error).__name__}: {error}"
        reason = " ".join(reason.split())
        summary.failed[name] = reason
        with tqdm.external_write_mode(sys.stderr):
            log.error("%s", reason)
            log.debug("%s", "".join(traceback.format_exception(error)))


def warn_of_orphans(videos: list[VideoFile], video_root: Path, frame_root: Path) -> None:
    """Say which folders of frames have no video any more: they still take part in later steps."""
    if not video_root.is_dir() or not frame_root.is_dir():
        return
    gone = sorted({path.parent.relative_to(frame_root).as_posix()
                   for path in frame_root.rglob(RECORD_NAME)} - {video.id for video in videos})
    gone = [video_id for video_id in gone if not video_id.startswith(".")]
    if gone:
        log.info("%s: %d folders without a video in %s still take part; delete them if they "
                 "should not: %s", frame_root, len(gone), video_root,
                 ", ".join(gone[:3]) + (", ..." if len(gone) > 3 else ""))


def per_thread(make: Callable[[], Made]) -> Callable[[], Made]:
    """A getter that calls `make` once in each thread: for objects that serve one thread only."""
    local = threading.local()

    def get() -> Made:
        if not hasattr(local, "made"):
            local.made = make()
        return local.made
    return get


def pick_device(name: str) -> str:
    """`cpu` or `cuda` for --device auto, cpu or cuda. Raises InputError when there is no GPU."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: this PyTorch sees no CUDA device; use --device cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


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
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)
    try:
        status = main(**options).exit_status
    except KeyboardInterrupt:
        log.error("interrupted; run the same command again to go on")
        _leave_at_once(EXIT_INTERRUPTED)
    except _EXPECTED as error:
        log.error("%s: %s", parser.prog, " ".join(str(error).split()))
        log.debug("%s", traceback.format_exc())
        status = EXIT_USAGE
    sys.exit(status)


def _leave_at_once(status: int) -> None:
    """Exit without waiting for worker threads: what they have in hand is made again later."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.shutdown()
    os._exit(status)
