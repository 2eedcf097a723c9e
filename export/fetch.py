"""Fetch a published file of weights: `wholebody fetch NAME`.

A file appears under its name only when its size and SHA-256 are right; what a broken download left is never
continued, since nothing tells what it is. Beside `x.pth` lies `x.pth.origin.json`: where it came from, its
SHA-256 and its licences.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from wholebody import __version__
from wholebody.export import zoo
from wholebody.export.zoo import Published, published
from wholebody.runtime.errors import CheckpointError, SourceError
from wholebody.runtime.whole import whole

__all__ = ["Fetched", "fetch", "fetch_file", "listing", "origin_path", "terms"]

CHUNK = 1 << 18
TIMEOUT = 30  # seconds without a byte
Advance = Callable[[int, int | None], None]  # bytes so far, bytes in all where known


@dataclass(frozen=True)
class Fetched:
    """A file that is there and is what was published, as far as that can be told."""

    path: Path
    sha256: str
    size: int
    already_there: bool
    published: Published

    def __str__(self) -> str:
        did = "is there already" if self.already_there else "fetched"
        return f"{self.path} {did}: {self.size / 1e6:.1f} MB, {self._checked()}"

    def _checked(self) -> str:
        known = self.published.sha256
        if len(known) == 64:
            return f"SHA-256 {self.sha256} as published"
        if known:
            return f"SHA-256 {self.sha256}, of which {known} is published: no accident, but no proof either"
        return f"SHA-256 {self.sha256}, which nobody published: it cannot be checked"


def listing() -> str:
    """The names that `fetch` takes, one a line, with what they are."""
    width = max(map(len, zoo.PUBLISHED))
    return "\n".join(f"{name:{width}}  {entry.about}" for name, entry in zoo.PUBLISHED.items())


def terms(entry: Published) -> str:
    """What a user should know before a download begins."""
    size = "" if entry.size is None else f", {entry.size / 1e6:.1f} MB"
    return "\n".join(
        (
            f"{entry.name}: {entry.about}{size}",
            f"  from     {entry.url}",
            f"  code     {entry.code_licence}",
            f"  weights  {entry.weights_licence}",
            f"  checked  against {entry.check}",
        )
    )


def origin_path(path: Path) -> Path:
    """`x.pth.origin.json` beside `x.pth`."""
    return path.with_name(f"{path.name}.origin.json")


def fetch(name: str, folder: Path = Path(), *, console: Console | None = None) -> Fetched:
    """Download a published file into `folder` under the name it was published with.

    console   gets the licences before the first byte, and the progress where it is a terminal

    Raises CheckpointError for an unknown name, for a download cut off or with another SHA-256, and where
    another file has that name; SourceError where the server does not give it or the folder does not take it.
    """
    entry = published(name)
    if console is None:
        return fetch_file(entry, folder)
    console.print(terms(entry))
    with _bar(console, entry) as advance:
        return fetch_file(entry, folder, advance=advance)


def fetch_file(entry: Published, folder: Path, *, advance: Advance | None = None) -> Fetched:
    """`fetch` without words: `advance(bytes so far, bytes in all or None)` is called as they come."""
    path = folder / entry.filename
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return _already_there(entry, path)
        with whole(path) as partial, open(partial, "wb") as file, _answer(entry) as response:
            sha256, size = _receive(entry, response, file, advance)
        fetched = Fetched(path, sha256, size, False, entry)
        _write_origin(fetched)
    except OSError as error:
        raise SourceError(f"cannot write {path}: {error.strerror}; choose another folder") from error
    return fetched


def _already_there(entry: Published, path: Path) -> Fetched:
    """A file of that name: the one meant, or a reason to stop."""
    sha256 = _sha256(path)
    known = entry.sha256 or _recorded(path)
    if not known or not sha256.startswith(known):
        expected = f"not {known}" if known else "and nothing tells what it is"
        raise CheckpointError(
            f"{path} is there already with SHA-256 {sha256[:12]}, {expected}: move it away and fetch again"
        )
    fetched = Fetched(path, sha256, path.stat().st_size, True, entry)
    _write_origin(fetched)
    return fetched


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _recorded(path: Path) -> str:
    """The SHA-256 that this file had when it was fetched, or ""."""
    try:
        return str(json.loads(origin_path(path).read_text("utf-8"))["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


@contextmanager
def _answer(entry: Published) -> Iterator[HTTPResponse]:
    """The server's answer; its refusals and silences as SourceError."""
    request = Request(entry.url, headers={"User-Agent": f"wholebody/{__version__}"})
    with _network(entry):
        response = urlopen(request, timeout=TIMEOUT)
    with response:
        yield response


@contextmanager
def _network(entry: Published) -> Iterator[None]:
    """Whatever fails inside is the network's fault."""
    try:
        yield
    except HTTPError as error:
        error.close()
        raise SourceError(
            f"cannot fetch {entry.name}: {entry.url} answers {error.code} {error.reason}; it may have moved: "
            "try again later, or look for it on its publisher's pages"
        ) from None
    except (OSError, HTTPException) as error:
        why = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise SourceError(
            f"cannot fetch {entry.name} from {entry.url}: {why}; check the network and try again"
        ) from error


def _receive(
    entry: Published, response: HTTPResponse, file: BinaryIO, advance: Advance | None
) -> tuple[str, int]:
    """Write what comes; its SHA-256 and size, which are checked."""
    digest, size, total = hashlib.sha256(), 0, _length(response, entry)
    while chunk := _read(entry, response):
        file.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        if advance is not None:
            advance(size, total)
    _check(entry, digest.hexdigest(), size, total)
    return digest.hexdigest(), size


def _length(response: HTTPResponse, entry: Published) -> int | None:
    announced = response.headers.get("Content-Length", "")
    total = int(announced) if announced.isdigit() else None
    if None not in (total, entry.size) and total != entry.size:
        raise CheckpointError(
            f"{entry.url} is {total} bytes long, but {entry.name} has {entry.size}: it is another file now"
        )
    return entry.size if total is None else total


def _read(entry: Published, response: HTTPResponse) -> bytes:
    with _network(entry):
        return response.read(CHUNK)


def _check(entry: Published, sha256: str, size: int, total: int | None) -> None:
    if total is None and not entry.sha256:
        raise CheckpointError(f"{entry.url} tells no length and {entry.name} no SHA-256: it may be cut off")
    if total is not None and size != total:
        raise CheckpointError(
            f"the download of {entry.name} was cut off after {size} of {total} bytes: fetch it again"
        )
    if not sha256.startswith(entry.sha256):
        raise CheckpointError(
            f"{entry.url} has SHA-256 {sha256[:12]}, but {entry.name} has {entry.sha256[:12]}: it is another "
            "file now, or was changed on the way; nothing was kept"
        )


def _write_origin(fetched: Fetched) -> None:
    entry = fetched.published
    record = {
        "name": entry.name,
        "about": entry.about,
        "url": entry.url,
        "sha256": fetched.sha256,
        "checked_against": entry.check,
        "size": fetched.size,
        "code_licence": entry.code_licence,
        "weights_licence": entry.weights_licence,
    }
    with whole(origin_path(fetched.path)) as partial:
        partial.write_text(json.dumps(record, indent=2) + "\n", "utf-8")


@contextmanager
def _bar(console: Console, entry: Published) -> Iterator[Advance | None]:
    if not console.is_terminal:
        yield None
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress("{task.description}", *columns, console=console, transient=True) as progress:
        task = progress.add_task(entry.name, total=entry.size)
        yield lambda done, total: progress.update(task, completed=done, total=total)
