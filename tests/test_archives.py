"""Unpacking: every program that is installed, damage, and archives that mean harm."""

import shutil
import subprocess
import tarfile
import zipfile
import zlib
from pathlib import Path

import pytest

from benchmarks import archives
from benchmarks.archives import PROGRAMS, is_archive, unpack
from utils.files import InputError

CONTENT = {"a.mp4": b"one" * 100, "sub/b ü.mp4": b"two"}

SAFE_TAR = pytest.mark.skipif(not hasattr(tarfile, "data_filter"),
                              reason="this Python is older than 3.11.4")


def block(kind: int, flags: int, fields: bytes) -> bytes:
    """A header of a RAR 4 archive with its checksum."""
    rest = bytes([kind]) + flags.to_bytes(2, "little") + (7 + len(fields)).to_bytes(2, "little")
    return (zlib.crc32(rest + fields) & 0xffff).to_bytes(2, "little") + rest + fields


def write_rar(path: Path, content: dict[str, bytes]) -> Path:
    """A RAR 4 archive whose files are stored without compression."""
    data = b"Rar!\x1a\x07\x00" + block(0x73, 0, bytes(6))
    for name, file in content.items():
        size, encoded = len(file).to_bytes(4, "little"), name.encode()
        data += block(0x74, 0x8000, size + size + b"\x03" + zlib.crc32(file).to_bytes(4, "little")
                      + bytes(4) + b"\x14\x30" + len(encoded).to_bytes(2, "little")
                      + (0o100644).to_bytes(4, "little") + encoded) + file
    path.write_bytes(data + block(0x7b, 0x4000, b""))
    return path


def write_zip(path: Path, content: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in content.items():
            file.writestr(name, data)
    return path


def content_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name != archives.RECORD_NAME}


def only(monkeypatch, name: str) -> None:
    """Let one program be the only one that is installed."""
    program = next(p for p in PROGRAMS if p.name == name)
    if not (shutil.which(program.list_command[0]) and shutil.which(program.unpack_command[0])):
        pytest.skip(f"{name} is not installed")
    monkeypatch.setattr(archives, "PROGRAMS", (program,))


@pytest.mark.parametrize("program", [p.name for p in PROGRAMS])
def test_rar_with_every_program(tmp_path, monkeypatch, program):
    only(monkeypatch, program)
    archive = write_rar(tmp_path / "x.rar", {"a.mp4": b"one" * 100, "sub\\b.mp4": b"two"})
    try:
        unpack(archive, tmp_path / "out")
    except InputError as error:  # builds of 7-Zip may leave RAR out
        assert program in ("7z", "7zz") and "bsdtar" in str(error)
        pytest.skip(f"this {program} has no RAR")
    assert content_of(tmp_path / "out") == {"a.mp4": b"one" * 100, "sub/b.mp4": b"two"}
    write_rar(tmp_path / "evil.rar", {"..\\evil.mp4": b"x"})
    with pytest.raises(InputError, match="evil.rar"):
        unpack(tmp_path / "evil.rar", tmp_path / "deep" / "out")
    assert not list(tmp_path.rglob("evil.mp4"))


@pytest.mark.parametrize("program", [p.name for p in PROGRAMS if ".7z" in p.endings])
def test_7z_with_every_program(tmp_path, monkeypatch, program):
    only(monkeypatch, program)
    maker = next((name for name in ("7z", "7zz", "bsdtar") if shutil.which(name)), None)
    if maker is None:
        pytest.skip("nothing here makes 7z archives")
    for name, data in CONTENT.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    command = (["bsdtar", "--format", "7zip", "-cf", "../x.7z", "."] if maker == "bsdtar"
               else [maker, "a", "../x.7z", "."])
    subprocess.run(command, cwd=tmp_path / "in", check=True, capture_output=True)
    unpack(tmp_path / "x.7z", tmp_path / "out")
    assert content_of(tmp_path / "out") == CONTENT


@SAFE_TAR
def test_zip_and_tar(tmp_path):
    unpack(write_zip(tmp_path / "x.zip", CONTENT), tmp_path / "one")
    for name, data in CONTENT.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(data)
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as file:
        file.add(tmp_path / "in", arcname=".")
    unpack(tmp_path / "x.tar.gz", tmp_path / "two")
    assert content_of(tmp_path / "one") == content_of(tmp_path / "two") == CONTENT


def test_an_archive_is_unpacked_once_and_again_when_it_changed(tmp_path):
    archive, out = write_zip(tmp_path / "x.zip", CONTENT), tmp_path / "out"
    assert unpack(archive, out) and not unpack(archive, out)
    (out / archives.RECORD_NAME).unlink()  # as if it had been killed
    (out / "half.mp4").write_bytes(b"")
    assert unpack(archive, out) and content_of(out) == CONTENT
    write_zip(archive, {"new.mp4": b"n"})
    assert unpack(archive, out) and set(content_of(out)) == {"new.mp4"}
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.parametrize("name", ["../evil.mp4", "/tmp/evil.mp4", "a/../../evil.mp4",
                                  "..\\evil.mp4", "C:\\evil.mp4"])
def test_paths_that_leave_the_folder_are_refused(tmp_path, name):
    archive = write_zip(tmp_path / "x.zip", {"good.mp4": b"g", name: b"e"})
    with pytest.raises(InputError, match="leads out"):
        unpack(archive, tmp_path / "deep" / "out")
    assert not content_of(tmp_path / "deep")


@SAFE_TAR
def test_links_in_archives_lead_nowhere(tmp_path):
    (tmp_path / "secret.mp4").write_bytes(b"s")
    with tarfile.open(tmp_path / "x.tar", "w") as file:
        link = tarfile.TarInfo("link.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "../secret.mp4"
        file.addfile(link)
    with pytest.raises(InputError, match="x.tar"):
        unpack(tmp_path / "x.tar", tmp_path / "out")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    archives.remove_links(tmp_path / "in")
    assert not list((tmp_path / "in").iterdir()) and (tmp_path / "secret.mp4").exists()


def test_damage_and_missing_programs_are_said_in_one_line(tmp_path, monkeypatch):
    for name in ("x.zip", "x.tar.gz"):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(InputError, match=name):
            unpack(tmp_path / name, tmp_path / "out")
    monkeypatch.setattr(archives.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="install one of unrar, unar, bsdtar, 7z, 7zz") as error:
        unpack(write_rar(tmp_path / "x.rar", CONTENT), tmp_path / "out")
    assert "\n" not in str(error.value) and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name, expected", [
    ("a.RAR", True), ("a.part1.rar", True), ("a.part01.rar", True), ("a.part2.rar", False),
    ("a.part10.rar", False), ("a.tgz", True), ("a.mp4", False), (".a.zip", False)])
def test_which_files_are_archives(name, expected):
    assert is_archive(Path(name)) == expected


def test_a_zip_whose_content_is_damaged_is_named(tmp_path):
    archive = tmp_path / "x.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.mp4", b"moving pictures" * 400)
    content = bytearray(archive.read_bytes())
    content[35] = 0xff  # begins a deflate block of a kind that there is not
    archive.write_bytes(content)
    with pytest.raises(InputError, match="x.zip: cannot be unpacked"):
        unpack(archive, tmp_path / "out")
