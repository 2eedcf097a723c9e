"""Fetching weights, from a server on this machine that behaves well, badly and strangely."""

from __future__ import annotations

import hashlib
import io
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wholebody.export import fetch as fetching
from wholebody.export import zoo
from wholebody.export.fetch import fetch, fetch_file, listing, origin_path
from wholebody.export.zoo import PUBLISHED, Published, published
from wholebody.runtime.errors import CheckpointError, SourceError

WEIGHTS = bytes(range(256)) * 3000  # more than one chunk
SHA256 = hashlib.sha256(WEIGHTS).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """What it does is in the path."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        getattr(self, f"serve_{self.path.split('/')[1]}")()

    def serve_whole(self, announced: int | None = len(WEIGHTS), sent: int | None = None) -> None:
        self.send_response(200)
        if announced is not None:
            self.send_header("Content-Length", str(announced))
        self.end_headers()
        self.wfile.write(WEIGHTS[:sent])

    def serve_cut(self) -> None:
        self.serve_whole(sent=300_000)

    def serve_unmeasured(self) -> None:
        self.serve_whole(announced=None)

    def serve_chunked(self) -> None:
        self.protocol_version = "HTTP/1.1"
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b"%x\r\n" % len(WEIGHTS) + WEIGHTS[:1000])  # and no more: a broken chunk
        self.close_connection = True

    def serve_moved(self) -> None:
        self.send_response(302)
        self.send_header("Location", "/whole/weights.pth")
        self.end_headers()

    def serve_missing(self) -> None:
        self.send_error(404)

    def serve_silent(self) -> None:
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass


@dataclass
class Server:
    url: str
    asked: list[str]

    def entry(self, behaviour: str, **changes: Any) -> Published:
        """A published file that this server serves so."""
        url = f"{self.url}/{behaviour}/weights.pth"
        entry = Published("tiny", "a student", url, "MIT", "non-commercial", SHA256, len(WEIGHTS))
        return replace(entry, **changes)


@pytest.fixture(scope="module")
def running() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked = []  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(running: ThreadingHTTPServer) -> Server:
    asked: list[str] = running.asked  # type: ignore[attr-defined]
    asked.clear()
    return Server(f"http://127.0.0.1:{running.server_port}", asked)


def nothing_in(folder: Path) -> bool:
    return not list(folder.iterdir())


@pytest.mark.parametrize("behaviour", ["whole", "moved", "unmeasured"])
def test_a_good_download(server: Server, tmp_path: Path, behaviour: str) -> None:
    seen: list[tuple[int, int | None]] = []
    fetched = fetch_file(server.entry(behaviour), tmp_path, advance=lambda *progress: seen.append(progress))
    assert fetched.path == tmp_path / "weights.pth"
    assert fetched.path.read_bytes() == WEIGHTS
    assert (fetched.sha256, fetched.size, fetched.already_there) == (SHA256, len(WEIGHTS), False)
    assert len(seen) > 1
    assert seen[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert {path.name for path in tmp_path.iterdir()} == {"weights.pth", "weights.pth.origin.json"}
    assert str(fetched).endswith(f"weights.pth fetched: 0.8 MB, SHA-256 {SHA256} as published")


def test_where_it_came_from_is_recorded(server: Server, tmp_path: Path) -> None:
    entry = server.entry("whole")
    origin = json.loads(origin_path(fetch_file(entry, tmp_path).path).read_text())
    assert origin["url"] == entry.url
    assert origin["sha256"] == SHA256
    assert (origin["code_licence"], origin["weights_licence"]) == ("MIT", "non-commercial")


def test_a_folder_is_made(server: Server, tmp_path: Path) -> None:
    assert fetch_file(server.entry("whole"), tmp_path / "a" / "b").path.is_file()


@pytest.mark.parametrize(
    ("behaviour", "changes", "message"),
    [
        ("cut", {}, r"download of tiny was cut off after 300000 of 768000 bytes: fetch it again"),
        ("cut", {"sha256": "", "size": None}, "was cut off after 300000 of 768000"),
        ("chunked", {"size": None}, r"cannot fetch tiny from .*; check the network and try again"),
        (
            "whole",
            {"sha256": "0" * 64},
            f"has SHA-256 {SHA256[:12]}, but tiny has 000000000000: .*nothing was",
        ),
        ("whole", {"sha256": "0" * 8}, f"has SHA-256 {SHA256[:12]}, but tiny has 00000000:"),
        ("whole", {"size": 5}, "weights.pth is 768000 bytes long, but tiny has 5: it is another file now"),
        ("unmeasured", {"size": None, "sha256": ""}, "tells no length and tiny no SHA-256"),
    ],
)
def test_a_bad_download_leaves_nothing(
    server: Server, tmp_path: Path, behaviour: str, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises((CheckpointError, SourceError), match=message) as caught:
        fetch_file(server.entry(behaviour, **changes), tmp_path)
    assert "\n" not in str(caught.value)
    assert nothing_in(tmp_path)


@pytest.mark.parametrize(
    ("behaviour", "message"),
    [
        ("missing", "answers 404 Not Found; it may have moved"),
        ("silent", "closed connection without response"),
    ],
)
def test_a_server_that_does_not_give_it(server: Server, tmp_path: Path, behaviour: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        fetch_file(server.entry(behaviour), tmp_path)
    assert "\n" not in str(caught.value)
    assert nothing_in(tmp_path)


def test_no_server_at_all(tmp_path: Path) -> None:
    entry = Published("tiny", "", "http://127.0.0.1:9/weights.pth", "", "")
    with pytest.raises(SourceError, match=r"cannot fetch tiny from .*refused; check the network"):
        fetch_file(entry, tmp_path)
    assert nothing_in(tmp_path)


def test_interrupted_by_the_user(server: Server, tmp_path: Path) -> None:
    def advance(done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_file(server.entry("whole"), tmp_path, advance=advance)
    assert nothing_in(tmp_path)


def test_a_partial_file_is_never_continued(server: Server, tmp_path: Path) -> None:
    """Neither one of ours, left by a crash, nor one under the final name."""
    (tmp_path / ".weights.pth.1.part").write_bytes(b"half")
    assert fetch_file(server.entry("whole"), tmp_path).path.read_bytes() == WEIGHTS
    (tmp_path / "weights.pth").write_bytes(WEIGHTS[:1000])
    with pytest.raises(CheckpointError, match=r"weights\.pth is there already with SHA-256 .*, not"):
        fetch_file(server.entry("whole"), tmp_path)
    assert (tmp_path / "weights.pth").read_bytes() == WEIGHTS[:1000]


def test_already_there(server: Server, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(WEIGHTS)
    fetched = fetch_file(server.entry("whole"), tmp_path)
    assert fetched.already_there
    assert "weights.pth is there already: 0.8 MB" in str(fetched)
    assert server.asked == []
    assert json.loads(origin_path(fetched.path).read_text())["sha256"] == SHA256


def test_what_has_no_published_hash(server: Server, tmp_path: Path) -> None:
    """It is compared with what came the first time."""
    entry = server.entry("whole", sha256="", size=None)
    fetched = fetch_file(entry, tmp_path)
    assert "which nobody published: it cannot be checked" in str(fetched)
    assert fetch_file(entry, tmp_path).already_there
    assert len(server.asked) == 1
    fetched.path.write_bytes(b"something else")
    with pytest.raises(CheckpointError, match=f"not {SHA256}: move it away"):
        fetch_file(entry, tmp_path)
    origin_path(fetched.path).write_text("[]")
    with pytest.raises(CheckpointError, match="nothing tells what it is"):
        fetch_file(entry, tmp_path)


def test_the_first_digits_of_a_hash(server: Server, tmp_path: Path) -> None:
    fetched = fetch_file(server.entry("whole", sha256=SHA256[:8]), tmp_path)
    assert f"of which {SHA256[:8]} is published: no accident, but no proof either" in str(fetched)


def test_a_folder_that_takes_nothing(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match=r"cannot write .*weights\.pth: .*; choose another folder"):
        fetch_file(server.entry("whole"), tmp_path / "file")
    (tmp_path / "weights.pth").mkdir()
    with pytest.raises(SourceError, match=r"weights\.pth: Is a directory"):
        fetch_file(server.entry("whole"), tmp_path)
    assert server.asked == []


def test_a_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> tuple[str, int]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fetching, "_receive", full)
    with pytest.raises(SourceError, match=r"cannot write .*No space left on device; choose another folder"):
        fetch_file(server.entry("whole"), tmp_path)
    assert nothing_in(tmp_path)


def test_the_licences_are_told_first(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = io.StringIO()
    monkeypatch.setattr(zoo, "PUBLISHED", {"tiny": server.entry("missing")})
    with pytest.raises(SourceError, match="404"):
        fetch("tiny", tmp_path, console=Console(file=told, width=200))
    assert told.getvalue().splitlines() == [
        "tiny: a student, 0.8 MB",
        f"  from     {server.url}/missing/weights.pth",
        "  code     MIT",
        "  weights  non-commercial",
        f"  checked  against SHA-256 {SHA256}",
    ]


def test_the_progress_is_shown_on_a_terminal(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = io.StringIO()
    monkeypatch.setattr(zoo, "PUBLISHED", {"tiny": server.entry("whole")})
    assert fetch("tiny", tmp_path, console=Console(file=told, force_terminal=True, width=200)).path.is_file()
    assert "/768.0 kB" in told.getvalue()


def test_names() -> None:
    with pytest.raises(CheckpointError, match=r"no published student 'dwpose-xxl'; there are: dwpose-t, "):
        fetch("dwpose-xxl")
    with pytest.raises(CheckpointError, match="dope-mini comes with wholebody, there is nothing to fetch"):
        fetch("dope-mini")
    assert listing().splitlines()[0] == "dwpose-t           DWPose-t, 133 keypoints, 256 x 192, checkpoint"


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table(name: str) -> None:
    entry = published(name)
    assert entry.name == name
    assert entry.url.startswith(("https://", "http://download.europe.naverlabs.com/"))
    assert len(entry.sha256) in (0, 8, 64)
    assert set(entry.sha256) <= set("0123456789abcdef")
    assert entry.code_licence
    assert entry.weights_licence
    assert entry.filename.endswith((".pth", ".onnx", ".pth.tgz"))


def test_files_do_not_overwrite_each_other() -> None:
    assert len({entry.filename for entry in PUBLISHED.values()}) == len(PUBLISHED)


@pytest.mark.parametrize(
    ("name", "filename"),
    [
        ("dwpose-l-384", "rtmpose-l_simcc-ucoco_dw-ucoco_270e-384x288-2438fd99_20230728.pth"),
        ("dwpose-m", "rtmpose-m_simcc-ucoco_dw-ucoco_270e-256x192-c8b76419_20230728.pth"),
        ("rtmpose-x-384", "rtmpose-x_simcc-coco-wholebody_pt-body7_270e-384x288-401dfc90_20230629.pth"),
        ("dwpose-l-384-onnx", "dw-ll_ucoco_384.onnx"),
        ("dope", "DOPE_v1_0_0.pth.tgz"),
        ("dope-realtime", "DOPErealtime_v1_0_0.pth.tgz"),
    ],
)
def test_published_names(name: str, filename: str) -> None:
    assert published(name).filename == filename
