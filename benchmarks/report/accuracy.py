"""The accuracy part of a report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from wholebody.benchmarks.recorded import Accuracy, Estimate, Figure
from wholebody.benchmarks.report.charts.canvas import chart
from wholebody.benchmarks.report.charts.difference import draw_differences
from wholebody.benchmarks.report.document import Block, Cell, Chart, Fold, Gallery, Section, Table, Text
from wholebody.benchmarks.report.names import Names
from wholebody.benchmarks.report.photos import photos
from wholebody.benchmarks.report.wording import NOTHING, difference, in_unit, number, plural, value

__all__ = ["accuracy_sections", "by_dataset", "called", "heading"]


ROWS = 14  # of a chart
PHOTOS, LEAST_PHOTOS = 80, 3  # in all, and of each run: a page should not weigh more than 10 MB
Panels = dict[str, list[tuple[str, dict[int, Estimate]]]]


def accuracy_sections(runs: Sequence[Accuracy], names: Names) -> list[Section]:
    """Figures and differences for each data set, then the worst pictures; nothing where there are no runs."""
    if not runs:
        return []
    blocks: list[Block] = [
        Text(
            "Below each figure its 95 % interval by bootstrap over pictures. Differences are from the "
            "PyTorch reference, paired picture by picture (▲ better, ▼ worse, as far as the interval leaves "
            "out zero).",
            aside=True,
        )
    ]
    for place, (title, found) in enumerate(by_dataset(runs).items()):
        blocks.append(Fold(title, list(_dataset(place, title, found, names)), open=place == 0))
    most = max(LEAST_PHOTOS, PHOTOS // len(runs))
    worst = [block for run in runs for block in _worst(run, names, most)]
    return [Section("Accuracy", blocks), *([Section("Worst pictures", worst)] if worst else [])]


def by_dataset(runs: Sequence[Accuracy]) -> dict[str, list[Accuracy]]:
    """Runs that judge the same annotations, by what these are called."""
    digests: dict[str, set[str | None]] = defaultdict(set)
    for run in runs:
        digests[called(run)].add(run.dataset_sha256)
    found: dict[str, list[Accuracy]] = defaultdict(list)
    for run in runs:
        several = len(digests[called(run)]) > 1
        found[called(run) + f" ({(run.dataset_sha256 or 'unknown')[:8]})" * several].append(run)
    return found


def called(run: Accuracy) -> str:
    """`COCO-WholeBody, 28 pictures, detected boxes`."""
    told = [run.title, *([plural(run.pictures, "picture")] if run.pictures is not None else [])]
    told += [f"{run.settings.boxes} boxes"] * bool(run.settings.boxes) + ["flip test"] * bool(
        run.settings.flip_test
    )
    return ", ".join(told)


def heading(name: str, figure: Figure) -> str:
    """`body: PCK@0.1`, of "body/pck"; as the title is where it names the part itself."""
    part = name.rpartition("/")[0].replace("_", " ")
    return figure.title if not part or ":" in figure.title else f"{part}: {figure.title}"


def _dataset(place: int, title: str, runs: Sequence[Accuracy], names: Names) -> Iterator[Block]:
    for student, found in _by_student(runs, names).items():
        yield _table(student, found, names)
        if not any(figure.difference for run in found for figure in run.figures.values()):
            continue
        panels = _panels(found)
        if panels:
            yield _chart(
                f"difference-{place}-{names.marker(found[0])}", f"{student}, {title}", panels, found, names
            )
        else:
            yield Text(f"{student}: no figure differs from the reference's in the digits shown.", aside=True)
    yield from (Text(note, aside=True) for note in dict.fromkeys(run.notes for run in runs) if note)


def _table(student: str, runs: Sequence[Accuracy], names: Names) -> Table:
    """A row a metric; of each run its figure and the difference from the reference."""
    metrics = {name: figure for run in runs for name, figure in run.figures.items()}
    beside = any(figure.difference or figure.reference is not None for figure in metrics.values())
    columns = [column for run in runs for column in [names.way(run), *["difference"] * beside]]
    rows = [
        [
            Cell(heading(name, figure), _better(figure)),
            *[_reference(runs, name)] * beside,
            *(cell for run in runs for cell in _cells(run, name, beside)),
        ]
        for name, figure in metrics.items()
    ]
    return Table(student, ["", *["reference"] * beside, *columns], rows)


def _better(figure: Figure) -> str:
    return "lower is better" if figure.better == "lower" else ""


def _cells(run: Accuracy, name: str, beside: bool) -> list[Cell]:
    figure = run.figures.get(name)
    if figure is None:
        return [NOTHING] * (1 + beside)
    return [value(figure), *[difference(figure)] * beside]


def _reference(runs: Sequence[Accuracy], name: str) -> Cell:
    """What the reference came to, where it is the same for all."""
    figures = [run.figures[name] for run in runs if name in run.figures]
    references = {figure.reference for figure in figures if figure.reference is not None}
    if len(references) != 1:
        return NOTHING
    scale, places, unit = in_unit(figures[0].unit)
    return Cell(number(references.pop() * scale, places) + unit, tone="muted")


def _by_student(runs: Sequence[Accuracy], names: Names) -> dict[str, list[Accuracy]]:
    found = defaultdict(list)
    for run in runs:
        found[names.student(run)].append(run)
    return found


def _chart(name: str, title: str, panels: Panels, runs: Sequence[Accuracy], names: Names) -> Chart:
    ways = [(names.way(run), names.hue(run)) for run in runs]
    return chart(
        name, lambda width: draw_differences(list(panels.items()), ways, width),
        caption=f"{title}: difference from the reference, with 95 % intervals; the first metric of each "
        "part, and what differs most.",
        alt=f"{title}: difference from the reference by metric; the table above has the same figures.",
    )  # fmt: skip


def _panels(runs: Sequence[Accuracy]) -> Panels:
    """By unit and direction the metrics that moved most, with the differences by the place of the run."""
    panels: Panels = defaultdict(list)
    for name, figure in _most_moved(runs).items():
        scale, _, unit = in_unit(figure.unit)
        unit = {"share": "points", "": "plain figures"}.get(figure.unit, unit.strip())
        side = "to the right is better" if figure.better == "higher" else "to the left is better"
        found = {
            place: change.times(scale)
            for place, run in enumerate(runs)
            if name in run.figures and (change := run.figures[name].difference)
        }
        panels[f"{unit}, {side}"].append((heading(name, figure), found))
    return panels


def _most_moved(runs: Sequence[Accuracy]) -> dict[str, Figure]:
    """The first metric of each part and what moved most, in the order of the table; {} if nothing did."""
    moved: dict[str, float] = {}
    first: dict[str, str] = {}
    for name, figure in ((n, f) for run in runs for n, f in run.figures.items() if f.difference):
        first.setdefault(name.rpartition("/")[0], name)
        if figure.moved and figure.difference:
            share = abs(figure.difference.value) / max(abs(figure.reference or 1.0), 1e-9)
            moved[name] = max(share, moved.get(name, 0.0))
    most = [*first.values(), *sorted(moved, key=lambda name: -moved[name])] if moved else []
    shown = set(list(dict.fromkeys(most))[:ROWS])
    return {name: f for run in runs for name, f in run.figures.items() if name in shown}


def _worst(run: Accuracy, names: Names, most: int) -> Iterator[Block]:
    if shown := photos(run, most):
        title = f"{names.label(run)}, {called(run)}: the worst {len(shown)}"
        yield Fold(title, [Gallery(shown)])
