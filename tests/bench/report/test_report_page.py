"""The report as one reads it: in a browser, without one, and on a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

Browse = Callable[..., str]
SECTIONS = (
    "In short", "Latency", "Latency against people and other loads", "Memory, energy and cold start",
    "Accuracy against latency", "Accuracy", "Worst pictures", "The machine", "The networks", "How to repeat "
    "it",
    "Published by others",
)  # fmt: skip


MEASURED = """<iframe style="border: 0; width: WIDTHpx; height: 900px" src="PAGE"></iframe>
<script>
onload = () => {
  const page = document.querySelector("iframe").contentDocument
  const charts = [...page.querySelectorAll("details[open] figure.chart, section > figure.chart")]
  const drawn = chart => [...chart.children].filter(each => each.tagName === "svg" && each.clientWidth).length
  document.title = JSON.stringify([page.documentElement.scrollWidth, ...charts.map(drawn)])
}
</script>"""


class Outline(HTMLParser):
    """Headings, ids and what a page would load; fails on tags that do not close in order."""

    VOID = ("meta", "link", "img", "br", "path", "use", "rect")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.headings: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = dict(attrs)
        self.ids += [told["id"] or ""] if "id" in told else []
        self.loads += [told[name] or "" for name in ("src", "href") if name in told and tag != "a"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture(scope="module")
def html(report: Path) -> str:
    return (report / "index.html").read_text("utf-8")


def test_it_has_every_part_and_its_tags_close(html: str) -> None:
    outline = Outline(html)
    assert not outline.open
    assert tuple(outline.headings) == SECTIONS
    assert len(set(outline.ids)) == len(outline.ids)
    assert set(re.findall(r"url\(#([^)]+)\)", html)) <= set(outline.ids)


def test_it_needs_nothing_else(html: str) -> None:
    loads = Outline(html).loads
    assert all(load.startswith(("data:", "#")) for load in loads)
    assert not re.search(r"<script|@import|url\((?!#)", html)
    assert "default-src 'none'" in html


def test_every_figure_can_be_read_without_seeing_it(html: str) -> None:
    for svg in re.findall(r"<svg class=[^>]*>", html):
        assert re.search(r'role="img" aria-label="[^"]{20,}"', svg)
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img [^>]*>", html))
    assert html.count("<figcaption>") >= html.count('<figure class="chart">') + html.count("<img ")


def test_markdown_says_the_same_and_its_files_are_there(report: Path, html: str) -> None:
    text = (report / "report.md").read_text("utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == SECTIONS
    targets = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    assert len(targets) == html.count('<figure class="chart">') + html.count("<img ")
    for target in targets:
        assert (report / target).stat().st_size > 500
    numbers = re.findall(r"\b\d+\.\d+ to \d+\.\d+\b", text)
    assert len(numbers) > 50
    assert set(numbers) == set(re.findall(r"(?<=<small>)\d+\.\d+ to \d+\.\d+(?=</small>)", html)) | set(
        re.findall(r"\b\d+\.\d+ to \d+\.\d+\b", text)
    )


def test_charts_are_svg_files_of_their_own_for_light_and_dark(report: Path) -> None:
    charts = sorted((report / "figures").glob("*.svg"))
    assert len(charts) >= 6
    for path in charts:
        text = path.read_text("utf-8")
        ElementTree.fromstring(text)
        assert "prefers-color-scheme: dark" in text
        assert not re.search(r"<script|https?://(?!www\.w3\.org)", text)


def screenshot(browse: Browse, page: Path, target: Path, width: int, *options: str) -> np.ndarray:
    browse(page, f"--window-size={width},2400", f"--screenshot={target}", *options)
    image = cv2.imread(str(target))
    assert image is not None
    assert image.shape == (2400, width, 3)
    return np.asarray(image)


@pytest.mark.parametrize("width", [1100, 390])
def test_a_browser_shows_it(report: Path, browse: Browse, tmp_path: Path, width: int) -> None:
    image = screenshot(browse, report / "index.html", tmp_path / "page.png", width)
    inked = np.abs(image.astype(int) - image[5, 5]).max(axis=2) > 100
    assert inked[:200].mean() > 0.002  # a heading
    hues = {tuple(color) for color in image.reshape(-1, 3)[::7].tolist()}
    assert len(hues) > 200  # charts in colour
    assert image[5, 5].min() > 230


def test_it_is_dark_where_the_reader_likes_it_dark(report: Path, browse: Browse, tmp_path: Path) -> None:
    page = report / "index.html"
    image = screenshot(browse, page, tmp_path / "dark.png", 1100, "--blink-settings=preferredColorScheme=0")
    assert image[5, 5].max() < 40
    assert (image.min(axis=2) > 200).mean() > 0.002  # words can be read


@pytest.mark.parametrize("width", [1100, 390])
def test_it_never_scrolls_sideways_and_shows_one_drawing_of_each_chart(
    report: Path, browse: Browse, tmp_path: Path, width: int
) -> None:
    """Measured in the browser, in a frame as wide as the screen."""
    frame, page = tmp_path / "frame.html", (report / "index.html").as_uri()
    frame.write_text(MEASURED.replace("WIDTH", str(width)).replace("PAGE", page))
    dom = browse(frame, "--allow-file-access-from-files", "--dump-dom", f"--window-size={width + 20},950")
    (title,) = re.findall(r"<title>\[(.*?)\]</title>", dom)
    scrolled, *drawn = map(int, title.split(","))
    assert scrolled <= width
    assert len(drawn) >= 4
    assert set(drawn) == {1}
