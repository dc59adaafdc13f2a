"""Unpacking archives with what is installed: Python for zip and tar, a program for rar and 7z.

Nothing is written outside the target: an archive with a path that leaves it is refused before it
is unpacked, and links in it are thrown away afterwards.
"""

import gzip
import json
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import uuid
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from utils.files import InputError, read_json, write_json

TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
PROGRAM_ENDINGS = (".rar", ".7z")
ENDINGS = (".zip", *PROGRAM_ENDINGS, *TAR_ENDINGS)
RECORD_NAME = ".archive.json"  # in a finished folder: which archive it was made from
_FURTHER_PART = re.compile(r".*\.part0*([2-9]|[1-9]\d+)\.rar", re.IGNORECASE)


@dataclass(frozen=True)
class Program:
    """A program that unpacks archives; its commands take the archive, then the folder."""

    name: str
    endings: tuple[str, ...]
    list_command: tuple[str, ...]
    names: Callable[[str], list[str]]  # from the output of list_command
    unpack_command: tuple[str, ...]  # {} stands for the archive, {folder} for the target


def _seven_zip_names(output: str) -> list[str]:
    return [line.removeprefix("Path = ") for line in output.splitlines()
            if line.startswith("Path = ")]


def _unar_names(output: str) -> list[str]:
    return [entry["XADFileName"] for entry in json.loads(output)["lsarContents"]]


def _seven_zip(name: str) -> Program:
    return Program(name, PROGRAM_ENDINGS, (name, "l", "-ba", "-slt", "--", "{}"), _seven_zip_names,
                   (name, "x", "-y", "-bd", "-o{folder}", "--", "{}"))


PROGRAMS = (  # in the order in which they are tried
    Program("unrar", (".rar",), ("unrar", "lb", "--", "{}"), str.splitlines,
            ("unrar", "x", "-y", "-idq", "--", "{}", "{folder}/")),
    Program("unar", PROGRAM_ENDINGS, ("lsar", "-json", "{}"), _unar_names,
            ("unar", "-quiet", "-force-overwrite", "-no-directory", "-output-directory",
             "{folder}", "{}")),
    Program("bsdtar", PROGRAM_ENDINGS, ("bsdtar", "-tf", "{}"), str.splitlines,
            ("bsdtar", "-xf", "{}", "-C", "{folder}")),
    _seven_zip("7z"), _seven_zip("7zz"))


def is_archive(path: Path) -> bool:
    """Whether a file is an archive to unpack, by its name; of one in several volumes, the first."""
    name = path.name.lower()
    return (name.endswith(ENDINGS) and not name.startswith(".")
            and not _FURTHER_PART.fullmatch(name))


def unpack(archive: Path, target: Path) -> bool:
    """Unpack into a folder of its own, which appears when it is complete; False when it was.

    Raises InputError when no program for it is installed (naming some), when it is damaged, or
    when a path in it would leave the folder.
    """
    archive, target = Path(archive).resolve(), Path(target)
    stat = archive.stat()
    made_from = {"archive": archive.name, "size": stat.st_size, "time": stat.st_mtime_ns}
    record = target / RECORD_NAME
    if record.is_file() and read_json(record) == made_from:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{uuid.uuid4().hex}.tmp"
    temporary.mkdir()
    try:
        _unpack_into(archive, temporary.resolve())
        remove_links(temporary)
        write_json(temporary / RECORD_NAME, made_from)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return True


def _unpack_into(archive: Path, folder: Path) -> None:
    name = archive.name.lower()
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(archive) as file:
                check_names(archive, file.namelist())
                file.extractall(folder)
        elif name.endswith(TAR_ENDINGS):
            if not hasattr(tarfile, "data_filter"):  # which keeps links and devices out
                raise InputError(f"{archive}: this Python cannot unpack it safely; take 3.11.4 or "
                                 "later, or unpack it yourself")
            with tarfile.open(archive) as file:
                check_names(archive, file.getnames())
                file.extractall(folder, filter="data")
        else:
            _run_program(archive, folder)
    # zipfile raises RuntimeError for encrypted content, and its NotImplementedError for other kinds
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError,
            EOFError, RuntimeError) as error:
        raise InputError(f"{archive}: cannot be unpacked ({error})") from error


def _run_program(archive: Path, folder: Path) -> None:
    """Unpack with the first installed program that can: not every build of one reads all kinds."""
    ending = archive.suffix.lower()
    fitting = [p for p in PROGRAMS if ending in p.endings]
    problem = f"no program for {ending} is installed"
    for program in fitting:
        if not all(shutil.which(c[0]) for c in (program.list_command, program.unpack_command)):
            continue
        try:
            listed = program.names(_output(program.list_command, archive, folder))
            check_names(archive, listed)
            _output(program.unpack_command, archive, folder)
            return
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.output).decode(errors="replace").strip().splitlines()
            problem = f"{program.name} cannot unpack it ({(lines or ['no reason given'])[-1]})"
    raise InputError(f"{archive}: {problem}; if it is whole, install one of "
                     f"{', '.join(p.name for p in fitting)} (bsdtar is in libarchive-tools)")


def _output(command: tuple[str, ...], archive: Path, folder: Path) -> str:
    """What a program printed. Raises CalledProcessError when it fails."""
    words = [str(archive) if word == "{}" else word.replace("{folder}", str(folder))
             for word in command]
    done = subprocess.run(words, capture_output=True, stdin=subprocess.DEVNULL, check=True)
    return done.stdout.decode(errors="surrogateescape")


def check_names(archive: Path, names: list[str]) -> None:
    """Raise InputError when a name in an archive would lead out of the folder it is unpacked to."""
    for name in names:
        for path in (PurePosixPath(name), PureWindowsPath(name)):
            if path.anchor or ".." in path.parts:
                raise InputError(f"{archive}: not unpacked, for its entry {name!r} leads out of "
                                 "the folder")


def remove_links(folder: Path) -> None:
    """Remove every symbolic link below a folder: it may point anywhere."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(parent, name)
            if path.is_symlink():
                path.unlink()
