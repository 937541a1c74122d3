"""The bytes and the text of a file, gzipped or not."""

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path

from readers.errors import UnreadableFile


def suffix(path: Path) -> str:
    """The file name's extension in lower case, ignoring `.gz`."""
    return (path.with_suffix("") if path.suffix.lower() == ".gz" else path).suffix.lower()


def content(path: Path) -> bytes:
    """The bytes of a file, decompressed if it is gzipped. Raises UnreadableFile."""
    if not path.is_file():
        raise UnreadableFile(f"{path}: there is no such file")
    raw = path.read_bytes()
    try:
        return gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError) as error:
        raise UnreadableFile(f"{path}: damaged gzip: {error}") from error


def first_lines(path: Path, size: int = 65_536) -> list[str]:
    """The first complete, non-empty lines of a text file in any encoding. Raises UnreadableFile."""
    if not path.is_file():
        raise UnreadableFile(f"{path}: there is no such file")
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        try:
            raw = gzip.GzipFile(fileobj=plain).read(size) if packed else plain.read(size)
        except (OSError, EOFError) as error:
            raise UnreadableFile(f"{path}: damaged gzip: {error}") from error
    lines = raw.decode("utf-8", "replace").removeprefix("\ufeff").split("\n")
    whole = lines if len(raw) < size or len(lines) == 1 else lines[:-1]
    return [line.rstrip("\r") for line in whole if line.strip()]


def decoded(path: Path, encoding: str | None) -> str:
    """The text of a file without its byte order mark. Raises UnreadableFile, which names the line."""
    raw = content(path)
    try:
        return raw.decode(known_encoding(path, encoding)).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _undecodable(path, raw.count(b"\n", 0, error.start) + 1, error) from error


def lines(path: Path, encoding: str | None) -> Iterator[tuple[int, str]]:
    """Yields number and text of each line, from 1. Raises UnreadableFile.

    Only a line feed ends a line. Unicode has more line separators, which JSON and ids may contain.
    """
    if not path.is_file():
        raise UnreadableFile(f"{path}: there is no such file")
    name = known_encoding(path, encoding)
    if name.startswith(("utf-16", "utf-32")):
        yield from enumerate(decoded(path, encoding).split("\n"), start=1)
        return
    with path.open("rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
        plain.seek(0)
        raw = gzip.GzipFile(fileobj=plain) if packed else plain
        number = 0
        try:
            for number, line in enumerate(raw, start=1):
                text = line.decode(name)
                yield number, text.removeprefix("\ufeff") if number == 1 else text
        except UnicodeDecodeError as error:
            raise _undecodable(path, number, error) from error
        except (OSError, EOFError) as error:
            raise UnreadableFile(f"{path}: damaged gzip: {error}") from error


def known_encoding(path: Path, encoding: str | None) -> str:
    """The canonical name of an encoding; UTF-8 for None. Raises UnreadableFile."""
    try:
        return codecs.lookup(encoding or "utf-8").name
    except LookupError as error:
        raise UnreadableFile(f"{path}: there is no encoding {encoding!r}") from error


def _undecodable(path: Path, line: int, error: UnicodeDecodeError) -> UnreadableFile:
    return UnreadableFile(
        f"{path}, line {line}: not {error.encoding} (byte {error.object[error.start]:#04x}); "
        "name the file's encoding, for example --encoding latin-1"
    )


def detect_encoding(path: Path) -> str:
    """UTF-8 or Latin-1, for data sets that come in both. Accents in Latin-1 are invalid UTF-8."""
    try:
        content(path).decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1"
    return "utf-8"
