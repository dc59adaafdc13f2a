"""report.html, and a page for every fake: what was found and why, in files that need nothing else.

`<trace root>/report.html` lists all fakes; `<trace root>/reports/<video id>.html` shows one, with
its pictures; `<trace root>/reports/<video id>.jpg` is its thumbnail for the list. A page says in
its head what it was made from, and is made again only when that changed.
"""

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

import cv2
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from utils.batch import Summary, log, read_failures, run_batch
from utils.evidence_pictures import address
from utils.files import write_bytes
from utils.layout import FAILED_NAME, VideoRecord, result_path
from utils.gone import drop_file
from utils.report_page import MATCH_PICTURES, page_data
from utils.report_words import VERDICTS, percent, speed, time_code
from utils.side_by_side import Roots, fake_id, source_facts
from utils.trace_video import current_video, drop_videos, write_video

TEMPLATES = Path(__file__).parent / "templates"
PAGE_VERSION = 9  # of the code that makes the pictures; templates are compared by their content
HEAD_BYTES = 400  # of a page, in which its digest stands
DIGEST = re.compile(rb'name="fpvt-made-with" content="([0-9a-f]{64})"')


def write_reports(results: list[dict], roots: Roots, failed: dict[str, str], *,
                  sources: int | None = None, report: bool = True, save_video: bool = False,
                  workers: int = 0, overwrite: bool = False) -> Summary:
    """Write report.html, the pages of all fakes and, on request, their videos.

    results: what step 5 wrote per fake; failed: items that could not be worked on, here or in a
    step before, with the reason; sources: how many the fakes were compared with, if that is known.
    What is up to date is kept; a page that fails costs only itself and is counted.
    """
    template = Templates()

    def work(result: dict) -> bool:
        made = save_video and write_video(result, roots, overwrite)
        return bool(report and write_page(result, roots, template, overwrite) or made)

    made = Summary()
    drop_videos(results, roots)
    if report or save_video:
        made = run_batch(results, work, name=lambda result: result["fake"],
                         label="step 5, report", workers=workers)
    if report:
        drop_pages(results, roots)
        write_overview(results, roots, {**failed, **made.failed}, template, sources)
    elif (old := roots.traces / "report.html").is_file():
        log.warning("%s: from an earlier run; run step 5 without --no-report to renew it", old)
    return made


def missing_sources(scene_root: Path, fakes: Iterable[VideoRecord]) -> dict[str, str]:
    """Why sources could not be read by the steps before, by name, with a warning; a fake may have
    the same name."""
    names = {record.file for record in fakes}  # those that step 4 could not rank
    missing = {f"{name} (source)": reason for name, reason in read_failures(scene_root).items()
               if name not in names}
    if missing:
        log.warning("%s: %d sources could not be read and are not compared; a fake made from one "
                    "of them ends as no_source", Path(scene_root) / FAILED_NAME, len(missing))
    return missing


def drop_pages(results: list[dict], roots: Roots) -> None:
    """Remove the pages of fakes that are no longer among the results."""
    kept = {page_path(roots, fake_id(result)) for result in results}
    folder = roots.traces / "reports"
    for page in sorted(set(folder.rglob("*.html")) - kept):
        if digest_of(page) is not None:  # ours
            drop_file(page.with_suffix(".jpg"), folder)
            drop_file(page, folder)


class Templates:
    """The HTML templates; they write what is user-controlled as text, never as markup."""

    def __init__(self):
        self._environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True,
                                        undefined=StrictUndefined, trim_blocks=True)
        self._environment.filters |= {"time_code": time_code, "percent": percent, "speed": speed,
                                      "sentence": sentence}
        self._texts = {path.name: path.read_text("utf-8") for path in TEMPLATES.iterdir()}
        self.identity = hashlib.sha256(json.dumps(self._texts, sort_keys=True).encode()).hexdigest()

    def render(self, name: str, digest: str, **data: object) -> bytes:
        """A page, complete with style and script; `name` is `overview` or `page`."""
        style, script = self._texts["report.css"], self._texts[f"{name}.js"]
        html = self._environment.get_template(f"{name}.html").render(
            digest=digest, style=Markup(style), script=Markup(script), style_hash=hash_of(style),
            script_hash=hash_of(script), words=VERDICTS, **data)
        return html.encode("utf-8", "replace")  # names that are no UTF-8 come as surrogates


def hash_of(text: str) -> str:
    """SHA-256 as a content security policy names it: the one script and style that may work."""
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def sentence(text: str) -> str:
    """A reason as a sentence."""
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"


def page_path(roots: Roots, video_id: str) -> Path:
    """Page of a fake; its thumbnail has the same name with .jpg."""
    return result_path(roots.traces / "reports", video_id, ".html")


def link(path: Path, page: Path) -> str | None:
    """Address of a file as seen from a page; None when the file is not there."""
    if not path.is_file():
        return None
    return quote(os.fsencode(Path(os.path.relpath(path, page.parent)).as_posix()))


def write_page(result: dict, roots: Roots, template: Templates, overwrite: bool = False) -> bool:
    """Write the page of one fake; False when it is up to date.

    Raises InputError when the fake's frames are missing.
    """
    video_id = fake_id(result)
    page = page_path(roots, video_id)
    thumbnail = page.with_suffix(".jpg")
    video = current_video(result, roots)
    digest = page_digest(result, roots, template, video is not None)
    if not overwrite and thumbnail.is_file() and digest_of(page) == digest:
        return False
    data, picture = page_data(result, roots)
    facts = [source_facts(roots, name) for name in dict.fromkeys(
        row["source"] for row in result["traces"] if row["source"])]
    html = template.render("page", digest, **data, video=video and link(video, page),
                           overview=quote(os.path.relpath(roots.traces / "report.html",
                                                          page.parent)),
                           sources=[fact.record for fact in facts if fact],
                           versions=f"page {PAGE_VERSION}, OpenCV {cv2.__version__}")
    write_bytes(thumbnail, picture)
    write_bytes(page, html)
    return True


def page_digest(result: dict, roots: Roots, template: Templates, video: bool) -> str:
    """What a page depends on, as one checksum."""
    names = sorted({row["source"] for row in result["traces"] if row["source"]}
                   | {c["source"] for c in result["made_with"]["candidates"][:MATCH_PICTURES]})
    there = {name: size_of(roots.videos / name) for name in names}
    text = json.dumps([PAGE_VERSION, template.identity, video, there, result], sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def size_of(path: Path) -> int | None:
    """Bytes of a file; None when it is not there."""
    return path.stat().st_size if path.is_file() else None


def digest_of(page: Path) -> str | None:
    """The checksum that a page carries; None when there is no page."""
    try:
        with open(page, "rb") as file:
            found = DIGEST.search(file.read(HEAD_BYTES))
    except OSError:
        return None
    return found[1].decode() if found else None


def write_overview(results: list[dict], roots: Roots, failed: dict[str, str],
                   template: Templates, sources: int | None) -> None:
    """Write report.html; arguments as of write_reports()."""
    path = roots.traces / "report.html"
    rows = [row for result in results for row in overview_rows(result, roots, path)]
    before = {result["fake"] for result in results}
    failed = {name: reason + "; what is shown of it is of an earlier file" * (name in before)
              for name, reason in failed.items()}
    counts = {name: sum(row["verdict"] == name for row in rows) for name in VERDICTS}
    write_bytes(path, template.render("overview", "0" * 64, rows=rows, counts=counts,
                                      failed=failed, fakes=len(results),
                                      sources=sources))


def overview_rows(result: dict, roots: Roots, path: Path) -> list[dict]:
    """What the list shows of one fake: a row for each of its stretches."""
    video_id = fake_id(result)
    page = page_path(roots, video_id)
    thumbnail = page.with_suffix(".jpg")
    picture = address(thumbnail.read_bytes()) if thumbnail.is_file() else None
    video = current_video(result, roots)
    shared = {"link": link(page, path), "part": len(result["traces"]) > 1,
              "video": video and link(video, path)}
    return [{**row, **shared, "picture": None if number else picture}
            for number, row in enumerate(result["traces"])]
