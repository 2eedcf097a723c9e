"""The data sets that accuracy is measured on: their readers, where they are had, and on what terms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from wholebody.benchmarks.datasets.dataset import Dataset
from wholebody.runtime.errors import SourceError

__all__ = ["DATASETS", "Source", "reader", "require_files", "source"]

RESEARCH = "research only, not commercial"
WHERE_3DDFA = "http://www.cbsr.ia.ac.cn/users/xiangyuzhu/projects/3DDFA/main.htm"


@dataclass(frozen=True)
class Source:
    """A data set that others published.

    title    as it is called
    files    what must lie in its folder, as patterns of names under it; of each one file or folder is enough
    url      where it is had
    licence  of annotations and pictures
    module   in wholebody.benchmarks.datasets, where its reader is
    """

    name: str
    title: str
    files: tuple[str, ...]
    url: str
    licence: str
    module: str = ""

    @property
    def function(self) -> str:
        """The reader's name: `read_` and the data set's."""
        return f"read_{self.module or self.name}"


DATASETS: Mapping[str, Source] = MappingProxyType(
    {
        entry.name: entry
        for entry in (
            Source("synthetic", "rendered people", (), "", "rendered by wholebody itself: none to mind"),
            Source(
                "coco",
                "COCO keypoints, val2017",
                ("annotations/person_keypoints_val2017.json", "val2017"),
                "https://cocodataset.org/#download",
                "annotations CC BY 4.0; photographs by their licences on Flickr",
            ),
            Source(
                "coco-wholebody",
                "COCO-WholeBody 1.0, val2017",
                ("annotations/coco_wholebody_val_v1.0.json", "val2017"),
                "https://github.com/jin-s13/COCO-WholeBody",
                f"annotations {RESEARCH}; photographs by their licences on Flickr",
                "coco",
            ),
            Source(
                "mupots",
                "MuPoTS-3D",
                ("TS*/annot.mat", "TS*/img_*.jpg"),
                "https://vcai.mpi-inf.mpg.de/projects/SingleShotMultiPerson/",
                RESEARCH,
            ),
            Source(
                "h36m",
                "Human3.6M, subjects S9 and S11",
                ("annotation_body3d/fps*/h36m_test.npz", "images"),
                "http://vision.imar.ro/human3.6m/",
                f"{RESEARCH}; registration asked for",
            ),
            Source(
                "mpi-inf-3dhp",
                "MPI-INF-3DHP, test set",
                ("annotations/mpi_inf_3dhp_test_valid.npz", "images"),
                "https://vcai.mpi-inf.mpg.de/3dhp-dataset/",
                RESEARCH,
                "mpi_inf_3dhp",
            ),
            Source(
                "h3wb",
                "Human3.6M 3D WholeBody",
                ("RGBto3D_test_3d.json", "images"),
                "https://github.com/wholebody3d/wholebody3d",
                f"annotations MIT; pictures those of Human3.6M: {RESEARCH}",
            ),
            Source(
                "smply",
                "SMPLy: Mannequin Challenge with SMPL fits",
                ("smply.npz", "cameras/**/*.txt", "images/*/*.jpg"),
                "https://europe.naverlabs.com/research/computer-vision/mannequin-benchmark "
                "(cameras: https://google.github.io/mannequinchallenge/)",
                "cameras CC BY 4.0; frames are YouTube's, the fits' terms are told by their publishers",
            ),
            Source(
                "freihand",
                "FreiHAND, evaluation",
                (),
                "https://lmb.informatik.uni-freiburg.de/projects/freihand/",
                RESEARCH,
            ),
            Source(
                "rhd",
                "Rendered Handpose, evaluation",
                (),
                "https://lmb.informatik.uni-freiburg.de/resources/datasets/RenderedHandposeDataset.en.html",
                RESEARCH,
            ),
            Source(
                "stb",
                "Stereo Hand Pose (STB)",
                (),
                "https://github.com/zhjwustc/icip17_stereo_hand_pose_dataset",
                "none stated: ask its authors",
            ),
            Source(
                "interhand",
                "InterHand2.6M",
                (),
                "https://mks0601.github.io/InterHand2.6M/",
                "CC BY-NC 4.0: no commercial use",
            ),
            Source(
                "onehand10k",
                "OneHand10K, test",
                (),
                "https://www.yangangwang.com/papers/WANG-MCC-2018-10.html",
                RESEARCH,
            ),
            Source(
                "panoptic",
                "CMU Panoptic hands, test",
                (),
                "http://domedb.perception.cs.cmu.edu/handdb.html",
                RESEARCH,
            ),
            Source("300w", "300-W", (), "https://ibug.doc.ic.ac.uk/resources/300-W/", RESEARCH, "w300"),
            Source("300w-lp", "300W-LP", (), WHERE_3DDFA, RESEARCH, "w300lp"),
            Source("aflw2000", "AFLW2000-3D", (), WHERE_3DDFA, RESEARCH),
        )
    }
)


def source(name: str) -> Source:
    """The data set of this name. Raises SourceError where there is none."""
    if name not in DATASETS:
        raise SourceError(f"no data set {name!r}; there are: {', '.join(DATASETS)}")
    return DATASETS[name]


def reader(name: str) -> Callable[..., Dataset]:
    """The function that reads it, `read(folder, …)`, imported now. Raises SourceError where there is none."""
    entry = source(name)
    module = import_module(f"wholebody.benchmarks.datasets.{entry.module or entry.name}")
    read: Callable[..., Dataset] = getattr(module, entry.function)
    return read


def require_files(folder: Path, dataset: str, files: Iterable[str] | None = None) -> dict[str, list[Path]]:
    """What lies in a data set's folder, sorted, by pattern: as `DATASETS` names them, or other `files`.

    Raises SourceError, in one line, that lists what is missing, where it is had, and its licence.
    """
    entry = source(dataset)
    patterns = entry.files if files is None else tuple(files)
    if not folder.is_dir():
        holding = f" with {', '.join(patterns)}" if patterns else ""
        raise SourceError(f"{folder} is no folder: give that of {entry.title}{holding}; {_terms(entry)}")
    found: dict[str, list[Path]] = {pattern: sorted(folder.glob(pattern)) for pattern in patterns}
    if missing := [pattern for pattern, paths in found.items() if not paths]:
        raise SourceError(f"{folder} lacks {', '.join(missing)} of {entry.title}; {_terms(entry)}")
    return found


def _terms(entry: Source) -> str:
    return f"it is had at {entry.url} (licence: {entry.licence})"
