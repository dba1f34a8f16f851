"""The extractor: what it accepts, what it refuses, and that a refused archive leaves nothing anywhere."""

import gzip
import hashlib
import io
import os
import resource
import stat
import struct
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tenfold_deploy.archive import ArchiveError, ArchiveLimits, ExtractedFile, check_path, extract_archive

FILES = {
    "config.yaml": b"",
    "model/model.py": b"class Model:\n    pass\n" * 500,
    "data/weights.bin": bytes(range(256)) * 5_000,
    "packages/" + "deep/" * 20 + "ünïcode name.txt": b"x",
    "data/" + "n" * 200: b"a name longer than a tar header holds",
}


def tar_of(files: dict[str, bytes], mode: str = "w", tar_format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode, format=tar_format) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mtime = 1.5  # makes the pax format write an extended header
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tar_member(name: str = "file", **fields: object) -> bytes:
    member = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(member, field, value)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(member)
    return buffer.getvalue()


def tar_block(
    name: bytes, size: int = 0, kind: bytes = b"0", prefix: bytes = b"", magic: bytes = b"ustar\x0000"
) -> bytes:
    """A header made by hand, for what no tar writer would write."""
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108] = b"0000644\0"
    block[124:136] = b"%011o\0" % size
    block[156:157] = kind
    block[257:265] = b"ustar\x0000"
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def tar_by_hand(*parts: bytes) -> bytes:
    padded = (part + bytes(-len(part) % 512) for part in parts)
    return b"".join(padded) + bytes(1024)


def pax(**records: str) -> bytes:
    body = b""
    for key, value in records.items():
        line = f" {key.replace('__', '.')}={value}\n".encode()
        length = len(line) + len(str(len(line) + 3))
        body += str(length).encode() + line
    return tar_by_hand(tar_block(b"pax", len(body), b"x"), body)[:-1024]


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def zip_entry(name: str = "file", content: bytes = b"", **fields: object) -> bytes:
    info = zipfile.ZipInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(info, content)
    return buffer.getvalue()


class Trickle:
    """A stream that cannot seek and gives a few bytes at a time, as a slow upload does."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(min(size, 100) if size >= 0 else 100)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where to extract to. Whatever the test did, nothing but this folder may have been touched."""
    (tmp_path / "canary").write_text("untouched")
    return tmp_path / "package"


def everything_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: bytes, place: Path, limits: ArchiveLimits | None = None) -> ArchiveError:
    """The error of an archive that must be refused, having left nothing behind."""
    with pytest.raises(ArchiveError) as caught:
        extract_archive(io.BytesIO(archive), place, limits=limits or ArchiveLimits())
    assert everything_below(place.parent) == {"canary"}
    assert (place.parent / "canary").read_text() == "untouched"
    assert caught.value.message
    return caught.value


# --- what is accepted ---


ACCEPTED = {
    "tar, pax": tar_of(FILES),
    "tar, gnu": tar_of(FILES, tar_format=tarfile.GNU_FORMAT),
    "tar.gz, pax": tar_of(FILES, "w:gz"),
    "tar.gz, gnu": tar_of(FILES, "w:gz", tarfile.GNU_FORMAT),
    "tar.gz in two members": gzip.compress(tar_of(FILES)[:5000]) + gzip.compress(tar_of(FILES)[5000:]),
    "zip, deflated": zip_of(FILES),
    "zip, stored": zip_of(FILES, zipfile.ZIP_STORED),
}


@pytest.mark.parametrize("archive", ACCEPTED.values(), ids=ACCEPTED)
@pytest.mark.parametrize("stream", [io.BytesIO, Trickle])
def test_every_format_gives_the_same_files(archive: bytes, stream: Callable[[bytes], io.BytesIO], place: Path) -> None:
    extracted = extract_archive(stream(archive), place)

    assert contents(place) == FILES
    assert {file.path: file for file in extracted} == {
        name: ExtractedFile(name, len(content), hashlib.sha256(content).hexdigest(), executable=False)
        for name, content in FILES.items()
    }
    assert everything_below(place.parent) - {f"package/{name}" for name in everything_below(place)} == {
        "canary",
        "package",
    }


def test_a_tar_made_from_a_folder_with_dot_names(place: Path) -> None:
    archive = tar_by_hand(
        tar_block(b"./", kind=b"5"), tar_block(b"./model/", kind=b"5"), tar_block(b"./model/model.py", 1), b"x"
    )

    assert [file.path for file in extract_archive(io.BytesIO(archive), place)] == ["model/model.py"]


def test_the_executable_bit_is_kept_and_no_other(place: Path) -> None:
    extract_archive(io.BytesIO(tar_member("run.sh", mode=0o6777)), place)
    assert stat.S_IMODE((place / "run.sh").stat().st_mode) == 0o755

    zipped = place.with_name("zipped")
    [file] = extract_archive(io.BytesIO(zip_entry("run.sh", external_attr=0o104777 << 16)), zipped)
    assert file.executable
    assert stat.S_IMODE((zipped / "run.sh").stat().st_mode) == 0o755


def test_files_can_be_read_by_another_user_whatever_the_umask(place: Path) -> None:
    before = os.umask(0o077)
    try:
        extract_archive(io.BytesIO(tar_of({"model/model.py": b""})), place)
    finally:
        os.umask(before)

    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [place, *place.rglob("*")]}
    assert modes == {"package": 0o755, "model": 0o755, "model.py": 0o644}


def test_a_tar_with_a_prefix_field_and_a_global_comment_as_git_writes(place: Path) -> None:
    comment = b"19 comment=abcdefg\n"
    archive = tar_by_hand(
        tar_block(b"pax_global_header", len(comment), b"g"), comment, tar_block(b"b.txt", 2, prefix=b"a"), b"hi"
    )

    extract_archive(io.BytesIO(archive), place)

    assert contents(place) == {"a/b.txt": b"hi"}


def test_a_zip_with_sizes_behind_the_content_as_streaming_writers_make(place: Path) -> None:
    class OneWay(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

        def seek(self, *_: object) -> int:
            raise OSError

    written = OneWay()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.txt", b"hello" * 100)
        archive.writestr("b.txt", b"")

    extract_archive(io.BytesIO(written.getvalue()), place)

    assert contents(place) == {"a.txt": b"hello" * 100, "b.txt": b""}


def test_a_zip_with_64_bit_sizes(place: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("a.txt", "w", force_zip64=True) as file:
        file.write(b"hello")

    extract_archive(io.BytesIO(buffer.getvalue()), place)

    assert contents(place) == {"a.txt": b"hello"}


def test_empty_archives_hold_nothing(place: Path) -> None:
    for number, archive in enumerate([tar_of({}), tar_of({}, "w:gz"), zip_of({})]):
        assert extract_archive(io.BytesIO(archive), place.with_name(f"{number}")) == []


def test_a_place_that_is_taken_is_left_alone(place: Path) -> None:
    place.mkdir()
    (place / "old").write_text("old")

    with pytest.raises(FileExistsError):
        extract_archive(io.BytesIO(tar_of({"new": b"new"})), place)

    assert contents(place) == {"old": b"old"}


def test_an_empty_folder_may_be_the_place(place: Path) -> None:
    place.mkdir()
    extract_archive(io.BytesIO(tar_of({"new": b"new"})), place)
    assert contents(place) == {"new": b"new"}


def test_a_link_in_the_place_is_not_followed(place: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    place.symlink_to("elsewhere")

    with pytest.raises(FileExistsError):
        extract_archive(io.BytesIO(tar_of({"new": b"new"})), place)

    assert everything_below(tmp_path) == {"canary", "elsewhere", "package"}


# --- names ---


BAD_NAMES = [
    "/etc/passwd",
    "//server/share",
    "../canary",
    "a/../../canary",
    "a/..",
    "a/./b",
    "a//b",
    "a\\b",
    "..\\canary",
    "C:/canary",
    "c:canary",
    "new\nline",
    "tab\t",
    "escape\x1b[2J",
    "delete\x7f",
    "turned \u202etxt.exe",
    "line\u2028separator",
    "x" * 256,
    "é" * 128,
    "/".join(["d"] * 65),
    "/".join(["dddddddddddddddd"] * 62),
]


@pytest.mark.parametrize("name", [*BAD_NAMES, "", ".", "..", "a/", "nul\0", "\udcff"])
def test_check_path_refuses(name: str) -> None:
    with pytest.raises(ArchiveError) as caught:
        check_path(name)
    assert caught.value.code == "bad_path"
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", ["a", "a/b.txt", ".hidden", "...", "a b", "ü/ñ", "2024-01-01T10:00", "x" * 255])
def test_check_path_accepts(name: str) -> None:
    assert check_path(name) == name


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_names_in_every_format(name: str, place: Path) -> None:
    for archive in (
        tar_of({name: b"x"}),
        tar_of({name: b"x"}, tar_format=tarfile.GNU_FORMAT),
        zip_of({name: b"x"}),
    ):
        assert refused(archive, place).code == "bad_path"


@pytest.mark.parametrize("name", ["..", "/", "/tmp", "a/../..", "./../x"])
def test_bad_names_of_folders(name: str, place: Path) -> None:
    assert refused(tar_by_hand(tar_block(name.encode(), kind=b"5")), place).code == "bad_path"
    assert refused(zip_of({f"{name}/": b""}), place).code == "bad_path"


def test_names_that_are_not_utf8(place: Path) -> None:
    assert refused(tar_by_hand(tar_block(b"caf\xe9")), place).code == "bad_path"


@pytest.mark.parametrize(
    ("first", "second", "code"),
    [
        ("a", "a", "duplicate_name"),
        ("a", "./a", "duplicate_name"),
        ("Model.py", "model.py", "name_collision"),
        ("Straße", "STRASSE", "name_collision"),
        ("caf\u00e9", "cafe\u0301", "name_collision"),
        ("Data/a", "data/b", "name_collision"),
        ("a", "a/b", "name_collision"),
        ("a/b", "a", "name_collision"),
    ],
)
def test_names_that_are_one_name_somewhere(first: str, second: str, code: str, place: Path) -> None:
    archive = tar_by_hand(tar_block(first.encode()), tar_block(second.encode()))
    assert refused(archive, place).code == code


def test_the_same_name_twice_in_a_zip(place: Path) -> None:
    archive = zip_of({"a": b"1", "b": b"2"}).replace(b"b", b"a")
    assert refused(archive, place).code == "duplicate_name"


# --- types ---


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"S", b"V", b"Z"]
)
def test_tar_members_that_are_not_files(kind: bytes, place: Path) -> None:
    assert refused(tar_by_hand(tar_block(b"a", kind=kind)), place).code == "refused_type"


def test_a_link_first_and_a_file_through_it_next(place: Path, tmp_path: Path) -> None:
    link = tarfile.TarInfo("out")
    link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(link)
        archive.addfile(tarfile.TarInfo("out/planted"))
    assert refused(buffer.getvalue(), place).code == "refused_type"


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
@pytest.mark.parametrize("system", [0, 3, 19])
def test_zip_entries_that_are_not_files(mode: int, system: int, place: Path) -> None:
    archive = zip_entry("out", b"/etc/passwd", external_attr=(mode | 0o777) << 16, create_system=system)
    assert refused(archive, place).code == "refused_type"


# --- tar tricks ---


def test_a_pax_path_leads_nowhere_else(place: Path) -> None:
    for name in ("../canary", "/etc/passwd"):
        assert refused(tar_by_hand(pax(path=name), tar_block(b"fine")), place).code == "bad_path"


@pytest.mark.parametrize(
    "records",
    [{"linkpath": "/etc/passwd"}, {"GNU__sparse__major": "1"}, {"GNU__sparse__realsize": "9"}],
)
def test_pax_records_that_make_something_else_of_a_file(records: dict[str, str], place: Path) -> None:
    assert refused(tar_by_hand(pax(**records), tar_block(b"fine")), place).code == "refused_type"


def test_pax_records_nobody_knows(place: Path) -> None:
    assert refused(tar_by_hand(pax(charset="x"), tar_block(b"fine")), place).code == "unsupported_header"


def test_a_global_header_cannot_rename_everything(place: Path) -> None:
    body = b"18 path=../canary\n"
    archive = tar_by_hand(tar_block(b"g", len(body), b"g"), body, tar_block(b"fine"))
    assert refused(archive, place).code == "unsupported_header"


@pytest.mark.parametrize("body", [b"99 path=x\n", b"5 path=x\n", b"path=x\n", b"-1 path=x\n", b"9 path=xy", b"0 a=b\n"])
def test_malformed_pax_records(body: bytes, place: Path) -> None:
    assert refused(tar_by_hand(tar_block(b"x", len(body), b"x"), body, tar_block(b"fine")), place).code == "corrupt"


def test_a_pax_size_that_is_no_number(place: Path) -> None:
    for size in ("-1", "1e9", "", "٣"):
        assert refused(tar_by_hand(pax(size=size), tar_block(b"fine")), place).code == "corrupt"


def test_two_answers_to_one_question(place: Path) -> None:
    long_name = tar_by_hand(tar_block(b"L", 5, b"L"), b"long\0")[:-1024]
    for archive in (
        tar_by_hand(pax(path="a"), pax(path="b"), tar_block(b"c")),
        tar_by_hand(long_name, pax(path="b"), tar_block(b"c")),
        tar_by_hand(long_name, long_name, tar_block(b"c")),
        tar_by_hand(pax(path="a")),
    ):
        assert refused(archive, place).code == "corrupt"


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_a_header_that_claims_gigabytes(kind: bytes, place: Path) -> None:
    assert refused(tar_by_hand(tar_block(b"h", 1 << 32, kind)), place).code == "header_too_large"


def test_a_wrong_checksum_and_a_malformed_number(place: Path) -> None:
    good = tar_block(b"a", 1)
    assert refused(tar_by_hand(good, b"x", b"b" + good[1:]), place).code == "corrupt"
    negative = bytearray(tar_block(b"a"))
    negative[124:136] = b"\xff" * 12
    negative[148:156] = b" " * 8
    negative[148:156] = b"%06o\0 " % sum(negative)
    assert refused(tar_by_hand(bytes(negative)), place).code == "corrupt"


def test_a_folder_with_content(place: Path) -> None:
    assert refused(tar_by_hand(tar_block(b"a/", 512, b"5"), b"x" * 512), place).code == "corrupt"


def test_something_behind_the_end(place: Path) -> None:
    archive = tar_of({"a": b"x"})
    assert refused(archive + archive, place).code == "trailing_data"
    assert refused(gzip.compress(archive) + b"more", place).code == "corrupt"


@pytest.mark.parametrize("archive", ACCEPTED.values(), ids=ACCEPTED)
def test_a_transfer_that_was_cut_off(archive: bytes, place: Path) -> None:
    for length in (1, 100, 511, 512, 1000, len(archive) // 2, len(archive) - 100_000, len(archive) - 1):
        if 0 < length < len(archive) and archive[length:].strip(b"\0"):
            assert refused(archive[:length], place).code in ("truncated", "unknown_format", "corrupt")


@pytest.mark.parametrize(
    ("head", "name"), [(b"\xfd7zXZ\0", "xz"), (b"BZh9", "bzip2"), (b"7z\xbc\xaf\x27\x1c", "7z"), (b"hello", "this")]
)
def test_other_formats_are_named(head: bytes, name: str, place: Path) -> None:
    error = refused(head + bytes(1000), place)
    assert (error.code, error.message) == ("unknown_format", f"{name} is not a format that is accepted")
    assert refused(b"", place).message == "the upload is empty"


# --- zip tricks ---


def test_entries_that_share_their_bytes(place: Path) -> None:
    """The overlapping bomb: one compressed block, many names."""
    archive = bytearray(zip_of({"a": b"x" * 1000, "b": b"x" * 1000}, zipfile.ZIP_STORED))
    central = archive.index(b"PK\x01\x02", archive.index(b"PK\x01\x02") + 1)
    archive[central + 42 : central + 46] = struct.pack("<L", 0)
    assert refused(bytes(archive), place).code == "overlapping_entries"


def test_the_two_names_of_an_entry_differ(place: Path) -> None:
    archive = zip_of({"fine": b"x"})
    for other in (archive.replace(b"fine", b"evil", 1), archive[:200].replace(b"fine", b"../x", 1) + archive[200:]):
        assert refused(other, place).code in ("corrupt", "bad_path")


def test_an_entry_larger_than_it_says(place: Path) -> None:
    archive = bytearray(zip_of({"a": b"x" * 10_000}))
    for position in (22, archive.index(b"PK\x01\x02") + 24):
        archive[position : position + 4] = struct.pack("<L", 10)
    assert refused(bytes(archive), place).code == "corrupt"


def test_a_wrong_crc(place: Path) -> None:
    archive = bytearray(zip_of({"a": b"hello"}, zipfile.ZIP_STORED))
    archive[31] ^= 1
    assert refused(bytes(archive), place).code == "corrupt"


def test_encryption_and_other_compression(place: Path) -> None:
    archive = bytearray(zip_of({"a": b"hello"}))
    for position in (6, archive.index(b"PK\x01\x02") + 8):
        archive[position] |= 1
    assert refused(bytes(archive), place).code == "encrypted"
    assert refused(zip_of({"a": b"hello"}, zipfile.ZIP_LZMA), place).code == "unsupported_compression"


def test_a_zip_with_something_before_or_behind(place: Path) -> None:
    archive = zip_of({"a": b"hello"})
    assert refused(archive + b"more", place).code == "corrupt"
    with_program = bytes(archive[:4]) + b"program" + archive
    assert refused(with_program, place).code == "corrupt"


# --- bombs and limits ---


class Zeros:
    """A gzip stream of zeros without an end, made as it is read, so the test itself stays small."""

    def __init__(self, head: bytes) -> None:
        self._deflate = zlib.compressobj(9, wbits=31)
        self._waiting = self._deflate.compress(head)

    def read(self, size: int = -1) -> bytes:
        while not self._waiting:
            self._waiting = self._deflate.compress(bytes(1 << 22))
        chunk, self._waiting = self._waiting[:size], self._waiting[size:]
        return chunk


def test_a_gzip_bomb_ends_early_and_memory_stays_flat(place: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.process_time()
    with pytest.raises(ArchiveError) as caught:
        extract_archive(Zeros(tar_block(b"zeros", 8 << 30 - 1)), place)
    assert caught.value.code == "too_compressed"
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
    assert everything_below(place.parent) == {"canary"}


def test_a_bomb_in_the_padding(place: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        extract_archive(Zeros(tar_block(b"empty") + bytes(1024)), place)
    assert caught.value.code == "trailing_data"


def test_a_zip_bomb_is_seen_before_it_is_unpacked(place: Path) -> None:
    archive = zip_of({"zeros": bytes(64 << 20)})
    started = time.process_time()
    assert refused(archive, place).code == "too_compressed"
    assert time.process_time() - started < 0.5


def test_limits_on_sizes_and_count(place: Path) -> None:
    files = {"a": b"x" * 1000, "b": b"x" * 1000}
    for archive in (tar_of(files), tar_of(files, "w:gz"), zip_of(files)):
        assert refused(archive, place, ArchiveLimits(max_files=1)).code == "too_many_files"
        assert refused(archive, place, ArchiveLimits(max_file_bytes=999)).code == "file_too_large"
        assert refused(archive, place, ArchiveLimits(max_total_bytes=1999)).code == "too_large"
        exact = ArchiveLimits(max_files=2, max_file_bytes=1000, max_total_bytes=2000)
        extract_archive(io.BytesIO(archive), place.with_name(f"exact{len(archive)}"), limits=exact)
        for leftover in place.parent.glob("exact*"):
            for file in leftover.iterdir():
                file.unlink()
            leftover.rmdir()


def test_a_claimed_size_is_believed_before_a_byte_is_read(place: Path) -> None:
    assert refused(tar_by_hand(pax(size=str(10**15)), tar_block(b"huge")), place).code == "file_too_large"


def test_a_million_names_are_refused_quickly(place: Path) -> None:
    block = tar_block(b"same")

    class Million:
        blocks = 0

        def read(self, size: int = -1) -> bytes:
            self.blocks += 1
            return block if self.blocks < 1_000_000 else bytes(size)

    folders = [tar_block(b"d%d" % number, kind=b"5") for number in range(100_001)]

    class Folders(Million):
        def read(self, size: int = -1) -> bytes:
            return folders.pop()

    for stream, code in ((Million(), "duplicate_name"), (Folders(), "too_many_files")):
        started = time.process_time()
        with pytest.raises(ArchiveError) as caught:
            extract_archive(stream, place)
        assert caught.value.code == code
        assert time.process_time() - started < 5


def test_endless_extended_headers(place: Path) -> None:
    class Headers:
        def read(self, size: int = -1) -> bytes:
            return tar_block(b"pax", 0, b"g")

    with pytest.raises(ArchiveError) as caught:
        extract_archive(Headers(), place, limits=ArchiveLimits(max_files=1000))
    assert caught.value.code == "too_many_files"


def test_a_zip_that_claims_too_many_entries_is_not_even_listed(place: Path) -> None:
    names = {f"{number}": b"" for number in range(2_000)}
    assert refused(zip_of(names), place, ArchiveLimits(max_files=1_999)).code == "too_many_files"


def test_a_full_disk_is_said_and_cleaned_up(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tenfold_deploy.archive.os.write", full)
    error = refused(tar_of({"a": b"x"}), place)
    assert (error.code, error.status) == ("no_space", 507)


# --- generated ---

names = st.one_of(
    st.text(min_size=1, max_size=30).filter(lambda name: "\0" not in name),
    st.lists(st.sampled_from(["..", ".", "", "a", "B", "b", "é", "e\u0301"]), min_size=1, max_size=5)
    .map("/".join)
    .filter(bool),
)
members = st.lists(
    st.tuples(
        names,
        st.binary(max_size=40),
        st.sampled_from([tarfile.REGTYPE, tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE]),
    ),
    max_size=6,
)


def damaged(archive: bytes, flips: list[tuple[int, int]]) -> bytes:
    changed = bytearray(archive)
    for position, value in flips:
        if changed:
            changed[position % len(changed)] ^= value
    return bytes(changed)


flips = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), max_size=3)


def check_contained(archive: bytes, root: Path) -> Iterator[None]:
    """Either it is refused and nothing is there, or exactly the files it reports are, as they are reported."""
    place = root / "package"
    try:
        extracted = extract_archive(io.BytesIO(archive), place)
    except ArchiveError:
        assert everything_below(root) == set()
        return
    assert {file.path: (file.size, file.sha256) for file in extracted} == {
        name: (len(content), hashlib.sha256(content).hexdigest()) for name, content in contents(place).items()
    }
    assert not any(path.is_symlink() for path in root.rglob("*"))
    assert os.listdir(root) == ["package"]
    yield


@given(members=members, flips=flips, tar_format=st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
@settings(max_examples=200, deadline=None)
def test_generated_tars_stay_inside(
    members: list[tuple[str, bytes, bytes]],
    flips: list[tuple[int, int]],
    tar_format: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tar_format, errors="surrogatepass") as archive:
        for name, content, kind in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../../canary"
            member.size = len(content) if kind == tarfile.REGTYPE else 0
            archive.addfile(member, io.BytesIO(content))
    root = tmp_path_factory.mktemp("generated")
    for _ in check_contained(damaged(buffer.getvalue(), flips), root):
        assert {kind for _, _, kind in members} <= {tarfile.REGTYPE, tarfile.DIRTYPE} or flips


@given(
    files=st.dictionaries(names.filter(lambda name: name.isprintable()), st.binary(max_size=200), max_size=6),
    flips=flips,
    method=st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
)
@settings(max_examples=200, deadline=None)
def test_generated_zips_stay_inside(
    files: dict[str, bytes], flips: list[tuple[int, int]], method: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("generated")
    for _ in check_contained(damaged(zip_of(files, method), flips), root):
        assert len(contents(root / "package")) <= len(files)
