"""Unpack what strangers upload: tar, tar.gz and zip, regular files only, memory flat.

`extract_archive` fills a private folder beside the destination, every name checked component by component
and rejoined below a directory handle, and renames it into place at the end. So the destination holds all
of the archive or none of it, and nothing is ever written elsewhere.

The readers are our own because the standard ones trust too much: `tarfile` reads a pax or long-name header
of any declared size into memory and understands links and sparse maps, `zipfile` loads the whole directory
first. Whatever two readers could understand differently is refused here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import stat
import struct
import tempfile
import unicodedata
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, Literal, NamedTuple, Protocol, cast

Kind = Literal["file", "folder"]

CHUNK_BYTES: Final = 1 << 20
MAX_PATH_BYTES: Final = 1024
MAX_COMPONENT_BYTES: Final = 255
MAX_DEPTH: Final = 64


class ArchiveError(Exception):
    """An archive or a path that is refused. `code` is for programs, `message` and `hint` for people."""

    def __init__(self, code: str, message: str, hint: str | None = None, *, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
        self.status = status


@dataclass(frozen=True)
class ArchiveLimits:
    """What one archive may hold. `max_files` counts folders too; the ratio counts from `ratio_floor_bytes` on."""

    max_files: int = 100_000
    max_total_bytes: int = 16 << 30
    max_file_bytes: int = 16 << 30
    max_ratio: int = 200
    ratio_floor_bytes: int = 32 << 20


@dataclass(frozen=True)
class ExtractedFile:
    path: str
    size: int
    sha256: str
    executable: bool


class ByteStream(Protocol):
    """Anything with `read`: an upload, a file, a response. What cannot seek is spooled to disk, for zip only."""

    def read(self, size: int = ..., /) -> bytes: ...


DEFAULT_LIMITS: Final = ArchiveLimits()


def check_path(name: str) -> str:
    """Return `name` if it is a safe path of a file inside a package, else raise ArchiveError("bad_path").

    The same rules hold for archive members and for upload manifests: components separated by `/`, none of
    them empty, `.` or `..`; no backslash, no control or direction-changing character, no drive name.
    """
    try:
        encoded = name.encode()
    except UnicodeEncodeError:
        raise _bad_path(name, "is not valid Unicode") from None
    if not name:
        raise _bad_path(name, "is empty")
    if len(encoded) > MAX_PATH_BYTES:
        raise _bad_path(name, f"is longer than {MAX_PATH_BYTES} bytes")
    if name.startswith("/"):
        raise _bad_path(name, "is absolute")
    if "\\" in name:
        raise _bad_path(name, "contains a backslash; folders are separated by '/'")
    if re.match(r"[A-Za-z]:", name):
        raise _bad_path(name, "starts with a drive name")
    if not name.isprintable() and any(_is_unprintable(character) for character in name):
        raise _bad_path(name, "contains a control character")
    components = name.split("/")
    if len(components) > MAX_DEPTH:
        raise _bad_path(name, f"is more than {MAX_DEPTH} folders deep")
    for component in components:
        if component in ("", ".", ".."):
            raise _bad_path(name, f"has {component!r} as a component")
        if len(component.encode()) > MAX_COMPONENT_BYTES:
            raise _bad_path(name, f"has a component longer than {MAX_COMPONENT_BYTES} bytes")
    return name


def extract_archive(
    stream: ByteStream, destination: Path, *, limits: ArchiveLimits = DEFAULT_LIMITS
) -> list[ExtractedFile]:
    """Unpack the tar, tar.gz or zip in `stream` as the folder `destination`, which must be missing or empty.

    Returns the files in the order they were written; folders are made only as far as files need them.
    Raises ArchiveError, and leaves `destination` as it was, for anything but plain files and folders.
    """
    with new_directory(destination) as tree:
        head = _read_up_to(stream, _BLOCK)
        source = _Rejoined(head, stream)
        if head.startswith(b"\x1f\x8b"):
            _unpack_tar(_Inflated(source, limits), tree, limits)
        elif head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            with tempfile.TemporaryFile(dir=destination.parent) as spool:
                _unpack_zip(_seekable(stream, source, spool, limits), tree, limits)
        elif head == _ZEROS or _has_tar_checksum(head):
            _unpack_tar(source, tree, limits)
        else:
            raise _unknown_format(head)
        return tree.files


@contextmanager
def new_directory(destination: Path) -> Iterator[Tree]:
    """Fill a folder beside `destination`; it becomes `destination` if the block ends well and vanishes if not.

    Raises FileExistsError if `destination` is there and not empty, before the block or at its end.
    """
    if destination.is_symlink() or (destination.exists() and (not destination.is_dir() or any(destination.iterdir()))):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination))
    destination.parent.mkdir(parents=True, exist_ok=True)
    growing = Path(tempfile.mkdtemp(prefix=f".{destination.name[:100]}.", dir=destination.parent))
    root_fd = os.open(growing, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    tree = Tree(root_fd)
    try:
        yield tree
        os.fchmod(root_fd, 0o755)
        _move_into_place(growing, destination)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ArchiveError("no_space", "the disk is full", "Free some space and try again.", status=507) from error
        raise
    finally:
        tree.close()
        os.close(root_fd)
        shutil.rmtree(growing, ignore_errors=True)


class Names:
    """Paths that can lie in one folder, on every file system. Raises ArchiveError for one that cannot join them."""

    def __init__(self) -> None:
        self._spellings: dict[str, tuple[str, Kind]] = {}

    def add_file(self, path: str) -> None:
        folder, _, _ = path.rpartition("/")
        if folder:
            self.add_folder(folder)
        self._add(path, "file")

    def add_folder(self, path: str) -> None:
        for end in (match.start() for match in re.finditer(r"/|$", path)):
            self._add(path[:end], "folder")

    def _add(self, path: str, kind: Kind) -> None:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
        known = self._spellings.get(key)
        if known is None:
            self._spellings[key] = (path, kind)
        elif known[0] != path:
            message = f"{_shown(path)} and {_shown(known[0])} are one name where upper and lower case are the same"
            raise ArchiveError("name_collision", message, "Rename one of them.")
        elif known[1] != kind:
            raise ArchiveError("name_collision", f"{_shown(path)} is both a file and a folder", "Rename one of them.")
        elif kind == "file":
            raise ArchiveError("duplicate_name", f"{_shown(path)} is there twice", "Keep one of the two.")


class Tree:
    """A new folder being filled: every file is made below its handle, exactly once, following no link."""

    def __init__(self, root_fd: int) -> None:
        self.files: list[ExtractedFile] = []
        self._root_fd = root_fd
        self._names = Names()
        self._folder: tuple[str, int] | None = None

    def add_folder(self, path: str) -> None:
        """Claim the name of a folder. It is made when a file needs it."""
        self._names.add_folder(check_path(path))

    def add_file(self, path: str, chunks: Iterable[bytes], *, executable: bool) -> ExtractedFile:
        """Write `chunks` as the new file `path`."""
        folder, _, name = check_path(path).rpartition("/")
        self._names.add_file(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        digest = hashlib.sha256()
        size = 0
        file_fd = os.open(name, flags, 0o600, dir_fd=self._open_folder(folder))
        with os.fdopen(file_fd, "wb", buffering=0):
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                _write_all(file_fd, chunk)
            os.fchmod(file_fd, 0o755 if executable else 0o644)
        written = ExtractedFile(path, size, digest.hexdigest(), executable)
        self.files.append(written)
        return written

    def close(self) -> None:
        if self._folder is not None:
            os.close(self._folder[1])
            self._folder = None

    def _open_folder(self, path: str) -> int:
        """The handle of a folder below the root. The last one is kept: archives list a folder's files together."""
        if not path:
            return self._root_fd
        if self._folder is not None and self._folder[0] == path:
            return self._folder[1]
        folder_fd = os.dup(self._root_fd)
        for component in path.split("/"):
            try:
                below_fd = _make_or_open_folder(component, folder_fd)
            finally:
                os.close(folder_fd)
            folder_fd = below_fd
        self.close()
        self._folder = (path, folder_fd)
        return folder_fd


def _make_or_open_folder(name: str, parent_fd: int) -> int:
    try:
        os.mkdir(name, 0o755, dir_fd=parent_fd)
        made = True
    except FileExistsError:
        made = False
    folder_fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    if made:
        os.fchmod(folder_fd, 0o755)  # whatever the umask: the worker may be another user
    return folder_fd


def _move_into_place(growing: Path, destination: Path) -> None:
    try:
        growing.rename(destination)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(destination)) from error
        raise


# --- tar ---------------------------------------------------------------------------------------------------

_BLOCK: Final = 512
_ZEROS: Final = bytes(_BLOCK)
_MAX_EXTENDED_HEADER_BYTES: Final = 1 << 20
_MAX_TAR_PADDING_BYTES: Final = 4 << 20
_HARMLESS_PAX: Final = frozenset({"atime", "comment", "ctime", "gid", "gname", "mtime", "uid", "uname"})
_HARMLESS_PAX_PREFIXES: Final = ("SCHILY.", "LIBARCHIVE.", "RHT.security.", "APPLE.")
_REFUSED_TAR_TYPES: Final = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a character device",
    b"4": "a block device",
    b"6": "a named pipe",
    b"D": "an incremental dump",
    b"M": "a part of a multi-volume archive",
    b"S": "a sparse file",
    b"V": "a volume label",
}


class _TarHeader(NamedTuple):
    name: str
    size: int
    kind: bytes
    executable: bool


@dataclass
class _Extended:
    """What the extended headers before a member say about it."""

    long_name: str | None = None
    pax: dict[str, str] = field(default_factory=dict)


def _unpack_tar(source: ByteStream, tree: Tree, limits: ArchiveLimits) -> None:
    budget = _Budget(limits)
    extended = _Extended()
    while (block := _read_exactly(source, _BLOCK)) != _ZEROS:
        header = _parse_tar_header(block)
        if header.kind in (b"x", b"g", b"L", b"K"):
            budget.count_extended_header()
            _read_extended_header(source, header, extended)
            continue
        header = _with_extensions(header, extended)
        extended = _Extended()
        _unpack_tar_member(source, header, tree, budget)
    if extended != _Extended():
        raise _corrupt("the archive ends after an extended header")
    _expect_only_padding(source)


def _unpack_tar_member(source: ByteStream, header: _TarHeader, tree: Tree, budget: _Budget) -> None:
    if header.kind in _REFUSED_TAR_TYPES:
        raise _refused_type(header.name, _REFUSED_TAR_TYPES[header.kind])
    is_folder = header.kind == b"5" or (header.kind == b"\0" and header.name.endswith("/"))
    if not is_folder and header.kind not in (b"0", b"\0", b"7"):
        raise _refused_type(header.name, f"of the unknown type {header.kind!r}")
    name = _member_name(header.name, is_folder)
    budget.take(name, header.size)
    if not is_folder:
        tree.add_file(name, _chunks_of(source, header.size), executable=header.executable)
        _read_exactly(source, -header.size % _BLOCK)
        return
    if header.size:
        raise _corrupt(f"the folder {_shown(name)} claims to have content")
    if name:
        tree.add_folder(name)


def _parse_tar_header(block: bytes) -> _TarHeader:
    if not _has_tar_checksum(block):
        raise _corrupt("a tar header has a wrong checksum")
    name = _c_string(block[:100])
    if block[257:263] == b"ustar\0" and block[345] != 0:
        name = _c_string(block[345:500]) + "/" + name
    mode = _tar_number(block[100:108])
    return _TarHeader(name, _tar_number(block[124:136]), block[156:157], bool(mode & 0o100))


def _read_extended_header(source: ByteStream, header: _TarHeader, extended: _Extended) -> None:
    if header.size > _MAX_EXTENDED_HEADER_BYTES:
        raise ArchiveError("header_too_large", f"an extended header of {header.size} bytes is refused")
    body = _read_exactly(source, header.size)
    _read_exactly(source, -header.size % _BLOCK)
    if header.kind == b"K":
        raise _refused_type(_c_string(body), "a link target")
    if header.kind == b"L":
        if extended.long_name is not None:
            raise _corrupt("a member has two long names")
        extended.long_name = _c_string(body)
        return
    records = _parse_pax(body)
    if header.kind == b"g":
        _refuse_global_records(records)
        return
    if repeated := extended.pax.keys() & records.keys():
        raise _corrupt(f"the pax record {min(repeated)!r} is given twice")
    extended.pax.update(records)


def _parse_pax(body: bytes) -> dict[str, str]:
    """Parse `LENGTH KEY=VALUE\\n` records. Everything that changes what a member is, is refused by name."""
    records: dict[str, str] = {}
    rest = body
    while rest:
        match = re.match(rb"([1-9][0-9]{0,6}) ([^=\0\n]+)=", rest)
        length = int(match[1]) if match else 0
        if match is None or not match.end() < length <= len(rest) or rest[length - 1 : length] != b"\n":
            raise _corrupt("a pax header is malformed")
        key = _text(match[2])
        if key in ("path", "size"):
            if key in records:
                raise _corrupt(f"the pax record {key!r} is given twice")
            records[key] = _text(rest[match.end() : length - 1])
        elif key == "linkpath":
            raise _refused_type(_shown(key), "a link target")
        elif key.startswith("GNU.sparse."):
            raise _refused_type(_shown(key), "a sparse file")
        elif key not in _HARMLESS_PAX and not key.startswith(_HARMLESS_PAX_PREFIXES):
            raise ArchiveError("unsupported_header", f"the pax record {_shown(key)} is not understood")
        rest = rest[length:]
    return records


def _refuse_global_records(records: dict[str, str]) -> None:
    if records:
        raise ArchiveError("unsupported_header", f"a global pax header sets {min(records)!r} for all members")


def _with_extensions(header: _TarHeader, extended: _Extended) -> _TarHeader:
    path, size = extended.pax.get("path"), extended.pax.get("size")
    if path is not None and extended.long_name is not None:
        raise _corrupt("a member has both a long name and a pax path")
    if size is not None:
        if re.fullmatch(r"[0-9]{1,18}", size) is None:
            raise _corrupt("a pax size is not a number")
        header = header._replace(size=int(size))
    name = path if path is not None else extended.long_name
    return header if name is None else header._replace(name=name)


def _has_tar_checksum(block: bytes) -> bool:
    if len(block) != _BLOCK:
        return False
    stated = re.fullmatch(rb"[ \0]*([0-7]+)[ \0]*", block[148:156])
    unsigned = sum(block[:148]) + sum(block[156:]) + 8 * 0x20
    return stated is not None and int(stated[1], 8) == unsigned


def _tar_number(digits: bytes) -> int:
    if digits[0] == 0x80:  # GNU's binary form, for sizes from 8 GiB on
        return int.from_bytes(digits[1:], "big")
    octal = re.fullmatch(rb"[ \0]*([0-7]*)[ \0]*", digits)
    if octal is None:
        raise _corrupt("a tar header holds a malformed number")
    return int(octal[1] or b"0", 8)


def _expect_only_padding(source: ByteStream) -> None:
    """Read on to the end: it checks a gzip trailer, and what hides behind the end mark is not accepted."""
    padding = 0
    while chunk := source.read(CHUNK_BYTES):
        padding += len(chunk)
        if chunk.count(0) != len(chunk) or padding > _MAX_TAR_PADDING_BYTES:
            raise ArchiveError("trailing_data", "there is more after the end of the archive")


# --- zip ---------------------------------------------------------------------------------------------------

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_SATURATED16: Final = 0xFFFF
_SATURATED32: Final = 0xFFFFFFFF
_FLAG_ENCRYPTED: Final = 0x1
_FLAG_SIZES_FOLLOW: Final = 0x8
_FLAGS_UNSUPPORTED: Final = 0x20 | 0x40 | 0x2000
_STORED: Final = 0
_DEFLATED: Final = 8


class _ZipDirectory(NamedTuple):
    offset: int
    end: int
    entries: int


class _ZipEntry(NamedTuple):
    offset: int
    raw_name: bytes
    name: str
    is_folder: bool
    executable: bool
    flags: int
    method: int
    crc: int
    packed_size: int
    size: int


def _unpack_zip(file: BinaryIO, tree: Tree, limits: ArchiveLimits) -> None:
    archive_bytes = file.seek(0, os.SEEK_END)
    directory = _find_zip_directory(file, archive_bytes)
    budget = _Budget(limits)
    budget.expect_entries(directory.entries)
    entries = sorted(_zip_entries(file, directory, budget))
    _check_total_ratio(sum(entry.size for entry in entries), archive_bytes, limits)
    ends = [*(entry.offset for entry in entries), directory.offset][1:]
    for entry, end in zip(entries, ends, strict=True):
        content = _zip_content(file, entry, end)
        if not entry.is_folder:
            tree.add_file(entry.name, content, executable=entry.executable)
        elif entry.name:
            tree.add_folder(entry.name)


def _find_zip_directory(file: BinaryIO, archive_bytes: int) -> _ZipDirectory:
    tail_bytes = min(archive_bytes, _END.size + 0xFFFF)
    file.seek(archive_bytes - tail_bytes)
    tail = _read_exactly(file, tail_bytes)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _truncated()
    _, disk, first_disk, here, count, size, offset, comment_bytes = _END.unpack_from(tail, at)
    if at + _END.size + comment_bytes != len(tail):
        raise _corrupt("there is more after the end of the zip directory")
    end = archive_bytes - tail_bytes + at
    if at >= _END64_LOCATOR.size and tail.startswith(b"PK\x06\x07", at - _END64_LOCATOR.size):
        stated = (here, count, size, offset)
        end, (here, count, size, offset) = _read_end64(file, end - _END64_LOCATOR.size)
        for small, large in zip(stated, (here, count, size, offset), strict=True):
            if small not in (large, _SATURATED16, _SATURATED32):
                raise _corrupt("the two zip directories disagree")
    if disk or first_disk or here != count:
        raise ArchiveError("unsupported_header", "a zip of several parts is not supported", "Upload it as one file.")
    if offset + size != end:
        raise _corrupt("the zip directory is not where the archive says")
    return _ZipDirectory(offset, end, count)


def _read_end64(file: BinaryIO, locator_offset: int) -> tuple[int, tuple[int, int, int, int]]:
    file.seek(locator_offset)
    _, disk, end64_offset, disks = _END64_LOCATOR.unpack(_read_exactly(file, _END64_LOCATOR.size))
    if disk or disks > 1 or end64_offset + _END64.size > locator_offset:
        raise _corrupt("the zip64 directory is not where the archive says")
    file.seek(end64_offset)
    mark, length, _, _, disk, first_disk, here, count, size, offset = _END64.unpack(_read_exactly(file, _END64.size))
    if mark != b"PK\x06\x06" or disk or first_disk or end64_offset + 12 + length != locator_offset:
        raise _corrupt("the zip64 directory is damaged")
    return end64_offset, (here, count, size, offset)


def _zip_entries(file: BinaryIO, directory: _ZipDirectory, budget: _Budget) -> Iterator[_ZipEntry]:
    file.seek(directory.offset)
    position = directory.offset
    for _ in range(directory.entries):
        fixed = _read_exactly(file, _CENTRAL.size)
        (mark, _, _, flags, method, _, _, crc, packed_size, size, name_bytes, extra_bytes, comment_bytes, _, _, mode,
         offset) = _CENTRAL.unpack(fixed)  # fmt: skip
        position += _CENTRAL.size + name_bytes + extra_bytes + comment_bytes
        if mark != b"PK\x01\x02" or position > directory.end:
            raise _corrupt("the zip directory is damaged")
        raw_name = _read_exactly(file, name_bytes)
        extra = _read_exactly(file, extra_bytes)
        _read_exactly(file, comment_bytes)
        size, packed_size, offset = _zip64_values(extra, size, packed_size, offset)
        decoded = _zip_name(raw_name)
        is_folder = decoded.endswith("/")
        _check_zip_type(decoded, is_folder, mode >> 16)
        name = _member_name(decoded, is_folder)
        _check_zip_method(name, flags, method)
        budget.take(name, size)
        budget.check_ratio(name, size, packed_size)
        if (is_folder or method == _STORED) and packed_size != size:
            raise _corrupt(f"{_shown(name)} is stored, yet has two sizes")
        if is_folder and size:
            raise _corrupt(f"the folder {_shown(name)} claims to have content")
        executable = bool((mode >> 16) & 0o100)
        yield _ZipEntry(offset, raw_name, name, is_folder, executable, flags, method, crc, packed_size, size)
    if position != directory.end:
        raise _corrupt("the zip directory holds more than it says")


def _zip64_values(extra: bytes, size: int, packed_size: int, offset: int) -> tuple[int, int, int]:
    values = [size, packed_size, offset]
    wide = [index for index, value in enumerate(values) if value == _SATURATED32]
    if not wide:
        return size, packed_size, offset
    at = 0
    while at + 4 <= len(extra):
        tag, length = struct.unpack_from("<2H", extra, at)
        if tag == 1 and length >= 8 * len(wide) and at + 4 + length <= len(extra):
            for place, index in enumerate(wide):
                values[index] = struct.unpack_from("<Q", extra, at + 4 + 8 * place)[0]
            return values[0], values[1], values[2]
        at += 4 + length
    raise _corrupt("a zip64 size is missing")


def _zip_name(raw: bytes) -> str:
    """UTF-8 whether flagged or not, as most writers do; else the old DOS code page."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _check_zip_type(name: str, is_folder: bool, mode: int) -> None:
    kind = stat.S_IFMT(mode)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _refused_type(name, "a symbolic link" if kind == stat.S_IFLNK else "a device, pipe or socket")
    if kind == (stat.S_IFREG if is_folder else stat.S_IFDIR):
        raise _corrupt(f"{_shown(name)} is both a file and a folder")


def _check_zip_method(name: str, flags: int, method: int) -> None:
    if flags & _FLAG_ENCRYPTED:
        raise ArchiveError("encrypted", f"{_shown(name)} is encrypted", "Upload the archive without a password.")
    if flags & _FLAGS_UNSUPPORTED or method not in (_STORED, _DEFLATED):
        hint = "Make the zip with ordinary (deflate) compression, or use tar.gz."
        raise ArchiveError("unsupported_compression", f"{_shown(name)} uses zip compression method {method}", hint)


def _zip_content(file: BinaryIO, entry: _ZipEntry, end: int) -> Iterator[bytes]:
    """Check the local header against the directory's word, then give the content."""
    file.seek(entry.offset)
    mark, _, flags, method, _, _, crc, packed_size, size, name_bytes, extra_bytes = _LOCAL.unpack(
        _read_exactly(file, _LOCAL.size)
    )
    start = entry.offset + _LOCAL.size + name_bytes + extra_bytes
    if start + entry.packed_size > end:
        raise ArchiveError("overlapping_entries", f"{_shown(entry.name)} overlaps another entry of the zip")
    same = mark == b"PK\x03\x04" and method == entry.method and _read_exactly(file, name_bytes) == entry.raw_name
    if not flags & _FLAG_SIZES_FOLLOW:
        stated = ((crc, entry.crc), (packed_size, entry.packed_size), (size, entry.size))
        same = same and all(local in (central, _SATURATED32) for local, central in stated)
    if not same or (flags ^ entry.flags) & (_FLAG_ENCRYPTED | _FLAGS_UNSUPPORTED):
        raise _corrupt(f"{_shown(entry.name)} is described in two ways")
    file.seek(start)
    packed = _chunks_of(file, entry.packed_size)
    return _checked(entry, packed if entry.method == _STORED else _inflate_entry(entry, packed))


def _inflate_entry(entry: _ZipEntry, packed: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for chunk in packed:
        waiting = chunk
        while waiting and not inflate.eof:
            with _zlib_errors():
                yield inflate.decompress(waiting, CHUNK_BYTES)
            waiting = inflate.unconsumed_tail
    with _zlib_errors():
        yield inflate.flush()
    if not inflate.eof or inflate.unused_data:
        raise _corrupt(f"the compressed content of {_shown(entry.name)} is damaged")


def _checked(entry: _ZipEntry, chunks: Iterable[bytes]) -> Iterator[bytes]:
    crc, size = 0, 0
    for chunk in chunks:
        crc = zlib.crc32(chunk, crc)
        size += len(chunk)
        if size > entry.size:
            raise _corrupt(f"{_shown(entry.name)} is larger than it says")
        yield chunk
    if size != entry.size or crc != entry.crc:
        raise _corrupt(f"{_shown(entry.name)} does not match its checksum")


def _check_total_ratio(unpacked_bytes: int, archive_bytes: int, limits: ArchiveLimits) -> None:
    if unpacked_bytes > max(limits.ratio_floor_bytes, limits.max_ratio * archive_bytes):
        raise _too_compressed(limits)


# --- streams, limits, words --------------------------------------------------------------------------------


class _Rejoined:
    """A stream with the bytes that were read to look at it put back."""

    def __init__(self, head: bytes, rest: ByteStream) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = CHUNK_BYTES, /) -> bytes:
        if not self._head:
            return self._rest.read(size)
        chunk, self._head = self._head[:size], self._head[size:]
        return chunk


class _Inflated:
    """A gzip stream, of one or several members, read in bounded pieces and watched for bombs."""

    def __init__(self, source: ByteStream, limits: ArchiveLimits) -> None:
        self._source = source
        self._limits = limits
        self._inflate = zlib.decompressobj(wbits=31)
        self._waiting = b""
        self._packed_bytes = 0
        self._unpacked_bytes = 0

    def read(self, size: int = CHUNK_BYTES, /) -> bytes:
        while size > 0:
            if self._inflate.eof and not self._start_next_member():
                return b""
            if not self._waiting and not self._fill():
                raise _truncated()
            with _zlib_errors():
                chunk = self._inflate.decompress(self._waiting, size)
            self._waiting = self._inflate.unused_data if self._inflate.eof else self._inflate.unconsumed_tail
            self._count(len(chunk))
            if chunk:
                return chunk
        return b""

    def _start_next_member(self) -> bool:
        self._waiting = self._waiting.lstrip(b"\0")
        while not self._waiting:
            if not self._fill():
                return False
            self._waiting = self._waiting.lstrip(b"\0")
        self._inflate = zlib.decompressobj(wbits=31)
        return True

    def _fill(self) -> bool:
        self._waiting = self._source.read(1 << 16)
        self._packed_bytes += len(self._waiting)
        return bool(self._waiting)

    def _count(self, unpacked_bytes: int) -> None:
        self._unpacked_bytes += unpacked_bytes
        _check_total_ratio(self._unpacked_bytes, self._packed_bytes, self._limits)


class _Budget:
    """Counts what an archive claims, before it is written, against the limits."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._entries = 0
        self._extended_headers = 0
        self._total_bytes = 0

    def expect_entries(self, count: int) -> None:
        if count > self._limits.max_files:
            hint = "Leave out what the model does not need (.git, virtual environments, caches)."
            raise ArchiveError("too_many_files", f"more than {self._limits.max_files} files", hint, status=413)

    def take(self, name: str, size: int) -> None:
        self._entries += 1
        self.expect_entries(self._entries)
        if size > self._limits.max_file_bytes:
            message = f"{_shown(name)} has {size} bytes; a file may have {self._limits.max_file_bytes}"
            raise ArchiveError("file_too_large", message, status=413)
        self._total_bytes += size
        if self._total_bytes > self._limits.max_total_bytes:
            message = f"the files have more than {self._limits.max_total_bytes} bytes together"
            raise ArchiveError("too_large", message, status=413)

    def count_extended_header(self) -> None:
        self._extended_headers += 1
        if self._extended_headers > 2 * self._limits.max_files + 16:
            raise ArchiveError("too_many_files", "more extended headers than files", status=413)

    def check_ratio(self, name: str, size: int, packed_size: int) -> None:
        if size > max(self._limits.ratio_floor_bytes, self._limits.max_ratio * packed_size):
            raise _too_compressed(self._limits, name)


def _seekable(original: ByteStream, source: ByteStream, spool: BinaryIO, limits: ArchiveLimits) -> BinaryIO:
    """The archive as a file that can seek: the upload itself if it is one from its start, else a copy on disk."""
    seekable = getattr(original, "seekable", None)
    if seekable is not None and seekable() and cast("BinaryIO", original).tell() <= _BLOCK:
        return cast("BinaryIO", original)
    copied = 0
    while chunk := source.read(CHUNK_BYTES):
        copied += len(chunk)
        if copied > limits.max_total_bytes:
            message = f"the archive has more than {limits.max_total_bytes} bytes"
            raise ArchiveError("too_large", message, status=413)
        spool.write(chunk)
    return spool


def _read_up_to(source: ByteStream, size: int) -> bytes:
    parts: list[bytes] = []
    missing = size
    while missing and (chunk := source.read(missing)):
        parts.append(chunk)
        missing -= len(chunk)
    return b"".join(parts)


def _read_exactly(source: ByteStream, size: int) -> bytes:
    content = _read_up_to(source, size)
    if len(content) != size:
        raise _truncated()
    return content


def _chunks_of(source: ByteStream, size: int) -> Iterator[bytes]:
    missing = size
    while missing:
        chunk = source.read(min(missing, CHUNK_BYTES))
        if not chunk:
            raise _truncated()
        missing -= len(chunk)
        yield chunk


def _write_all(file_fd: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(file_fd, view) :]


def _member_name(name: str, is_folder: bool) -> str:
    """The checked name of a member, without the `./` that `tar -C folder .` writes; the root itself is ""."""
    relative = name
    while relative.startswith("./"):
        relative = relative[2:]
    if is_folder and name and relative in ("", "."):
        return ""
    if is_folder and relative != "/":
        relative = relative.removesuffix("/")
    return check_path(relative)


def _c_string(raw: bytes) -> str:
    """Bytes that are not UTF-8 survive as surrogates: a long name or pax path may still replace them."""
    return raw.split(b"\0", 1)[0].decode(errors="surrogateescape")


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ArchiveError("bad_path", f"the name {raw[:80]!r} is not UTF-8") from None


def _is_unprintable(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _DIRECTION_MARKS


_DIRECTION_MARKS: Final = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def _shown(name: str) -> str:
    """A name as it may stand in a message: quoted, escaped, short."""
    return ascii(name if len(name) <= 120 else name[:117] + "...") if not name.isprintable() else repr(name[:120])


@contextmanager
def _zlib_errors() -> Iterator[None]:
    try:
        yield
    except zlib.error as error:
        raise _corrupt("the compressed data is damaged") from error


def _bad_path(name: str, why: str) -> ArchiveError:
    return ArchiveError("bad_path", f"the path {_shown(name)} {why}", "Use plain paths inside the package folder.")


def _refused_type(name: str, what: str) -> ArchiveError:
    hint = "Only regular files and folders can be uploaded; replace links by the files they point to."
    return ArchiveError("refused_type", f"{_shown(name)} is {what}", hint)


def _corrupt(why: str) -> ArchiveError:
    return ArchiveError("corrupt", why, "Make the archive again and upload it once more.")


def _truncated() -> ArchiveError:
    return ArchiveError("truncated", "the archive ends too early", "Upload it again; the transfer was cut off.")


def _too_compressed(limits: ArchiveLimits, name: str | None = None) -> ArchiveError:
    what = "the archive" if name is None else _shown(name)
    return ArchiveError("too_compressed", f"{what} unpacks to more than {limits.max_ratio} times its size", status=413)


def _unknown_format(head: bytes) -> ArchiveError:
    known = {b"\xfd7zXZ": "xz", b"BZh": "bzip2", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z", b"Rar!": "rar"}
    named = next((name for mark, name in known.items() if head.startswith(mark)), None)
    message = "the upload is empty" if not head else f"{named or 'this'} is not a format that is accepted"
    return ArchiveError("unknown_format", message, "Upload a .tar, .tar.gz or .zip.")
