"""`wholebody bench latency`: everything that was asked for, one group of runs after the other."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from wholebody.benchmarks.json_file import prove_writable
from wholebody.benchmarks.latency.contenders import (
    Contender,
    Network,
    Spec,
    base_of,
    check_backends,
    line_up,
    read_network,
)
from wholebody.benchmarks.latency.crew import Crew, Member
from wholebody.benchmarks.latency.process import WorkerProcess
from wholebody.benchmarks.latency.record import identity, model_entry, record
from wholebody.benchmarks.latency.scenes import MOST_PEOPLE, Scene, crops_of, crowd, folder, paced, rendered
from wholebody.benchmarks.latency.sweeps import with_proposals
from wholebody.benchmarks.latency.turns import Timed, take_turns
from wholebody.benchmarks.machine import Machine
from wholebody.benchmarks.provenance import provenance
from wholebody.benchmarks.runs import append_run, read_runs, run_id
from wholebody.export.zoo import bundled_source
from wholebody.runtime.artefact import is_exported, read_artefact
from wholebody.runtime.cpu import cores
from wholebody.runtime.errors import ArtefactError, BackendError, SourceError, WholebodyError
from wholebody.runtime.plan import is_engine, read_sidecar
from wholebody.runtime.published import describe_detector
from wholebody.runtime.spec import DetectorSpec, StudentSpec, TopDownSpec, spec_from_dict

__all__ = ["Suite", "measure"]

MOST_THREADS = 1024
Run = dict[str, Any]


@dataclass(frozen=True)
class Suite:
    """What is to be measured, besides whole frames one after the other.

    models     students: ONNX files, engines, checkpoints
    against    what the others are compared with; None: the bundled checkpoint that each came from
    backends   each file runs on those of them that it can, or on the usual one
    detector   finds people for top-down students; None: they are given the boxes
    images     a folder, picture or video of whole frames; None: rendered people
    batches    crops at once, the network of top-down students alone
    people     in a picture; top-down students are given their boxes
    proposals  that DOPE students look into
    hertz      frames as a camera brings them
    seconds    for each contender and setting at most; 200 frames are enough
    threads    of each contender; None: the physical cores
    """

    models: Sequence[Path]
    against: Path | None = None
    backends: Sequence[str] = ()
    detector: Path | None = None
    images: Path | None = None
    batches: Sequence[int] = ()
    people: Sequence[int] = ()
    proposals: Sequence[int] = ()
    hertz: Sequence[float] = ()
    seconds: float = 10.0
    threads: int | None = None


def measure(
    suite: Suite, runs: Path | None = None, tell: Callable[[str], None] = lambda line: None
) -> list[Run]:
    """The suite's runs, as `wholebody.benchmarks.runs` keeps them.

    runs   a file that each is appended to when it is measured; what is in it already, of this machine with
           these versions, is not measured again
    tell   called with a line about what is done and who is left out

    Raises ArtefactError and CheckpointError for files that are no students, SourceError for pictures or a
    file of runs, BackendError where nobody can run, WholebodyError for numbers that are not allowed.
    """
    _check(suite)
    if runs is not None:
        prove_writable(runs, keep=[*suite.models, *filter(None, [suite.against, suite.detector])])
        if runs.exists() and not os.access(runs, os.W_OK):
            raise SourceError(f"cannot write {runs}: it is read-only; choose another file")
    with TemporaryDirectory() as exports:
        return _Measurement(suite, runs, tell, Path(exports)).run()


def _check(suite: Suite) -> None:
    if not suite.models:
        raise WholebodyError("no model to measure: name a student")
    check_backends(suite.backends)
    for name, numbers, least, most in (
        ("--batch", suite.batches, 1, 1024),
        ("--people", suite.people, 0, MOST_PEOPLE),
        ("--proposals", suite.proposals, 1, 100_000),
        ("--pace", suite.hertz, 0.1, 1000),
        ("--threads", [] if suite.threads is None else [suite.threads], 1, MOST_THREADS),
    ):
        for number in numbers:
            if not least <= number <= most:
                raise WholebodyError(f"{name} is {number:g}; allowed are {least:g} to {most:g}")


@dataclass(eq=False)
class _Measurement:
    """A suite under way."""

    suite: Suite
    file: Path | None
    tell: Callable[[str], None]
    exports: Path
    machine: Machine = field(default_factory=Machine.here)

    def run(self) -> list[Run]:
        suite = self.suite
        self.threads = cores() if suite.threads is None else suite.threads
        self.known = {} if self.file is None else self._known(read_runs(self.file))
        self.detector = None if suite.detector is None else _detector(suite.detector)
        contenders = line_up(self._networks(), suite.backends)
        groups = list(self._groups(contenders))
        found: list[Run] = []
        with Crew(suite.detector, self.threads, self.tell) as crew:
            for number, (scene, group) in enumerate(groups, 1):
                self.tell(f"{number} of {len(groups)}: {scene.title}, {len(group)} in turns")
                found += self._group(crew, scene, group)
                later = {contender for _, others in groups[number:] for contender in others}
                crew.dismiss([contender for contender in group if contender not in later])
            if not found:
                raise BackendError(f"nothing could be measured: {crew.failure or 'everybody failed'}")
        return found

    def _known(self, runs: Sequence[Run]) -> dict[str, Run]:
        """By id, those of this machine with these versions."""
        here = self.machine
        return {
            str(run["id"]): run
            for run in runs
            if run.get("kind") == "latency"
            and run["machine"].get("host") == here.host
            and run["machine"].get("versions") == dict(here.versions)
        }

    # --- who and what -------------------------------------------------------------------------------------

    def _networks(self) -> list[Network]:
        """The models, and what they are compared with."""
        found: list[Network] = []
        paths = [*self.suite.models, *filter(None, [self.suite.against])]
        # ONNX files first: checkpoints run as the students that came from them
        for path in sorted(dict.fromkeys(paths), key=lambda path: path.suffix.lower() != ".onnx"):
            network = read_network(path, found, self._describe)
            found.append(network)
            if network.kind != "checkpoint" and network.spec.certificate is None:
                self.tell(f"{path.name} has no certificate: nothing tells that it does what PyTorch did")
        found.sort(key=lambda network: paths.index(network.path))
        return found + self._bundled(found)

    def _bundled(self, found: Sequence[Network]) -> list[Network]:
        if self.suite.against is not None or find_spec("torch") is None:
            return []
        sources = dict.fromkeys(bundled_source(network.spec.weights.sha256) for network in found)
        there = {network.path.resolve() for network in found}
        return [
            read_network(path, found, self._describe)
            for path in sources
            if path is not None and path.resolve() not in there
        ]

    def _describe(self, checkpoint: Path) -> tuple[Spec, int | None]:
        """In a process of its own, which takes PyTorch with it when it goes."""
        with WorkerProcess(checkpoint.name, self.threads) as process:
            found: tuple[Spec, int | None] = process.ask("describe", checkpoint)
        return found

    def _groups(self, contenders: list[Contender]) -> Iterator[tuple[Scene, list[Contender]]]:
        suite = self.suite
        top_down = [c for c in contenders if isinstance(c.network.spec, TopDownSpec)]
        dope = [c for c in contenders if isinstance(c.network.spec, StudentSpec)]
        self._check_families(top_down, dope)
        frames = rendered() if suite.images is None else folder(suite.images)
        yield frames, contenders
        for hertz in dict.fromkeys(suite.hertz):
            yield paced(frames, hertz), contenders
        for people in dict.fromkeys(suite.people):
            yield crowd(people), contenders
        for count in dict.fromkeys(suite.batches):
            yield crops_of(count), top_down
        for number in dict.fromkeys(suite.proposals):
            others = with_proposals(dope, number, self.exports, self._export, self.tell)
            if others:
                yield replace(frames, title=f"{number} proposals"), others

    def _check_families(self, top_down: Sequence[Contender], dope: Sequence[Contender]) -> None:
        suite = self.suite
        if top_down and suite.images is not None and suite.detector is None:
            raise WholebodyError(
                f"{top_down[0].network.path} needs a --detector to find people in {suite.images}; without "
                "--images it is given the boxes of rendered people"
            )
        if not top_down and suite.detector is not None:
            raise WholebodyError("--detector is for top-down students, and none is given: leave it out")
        if not top_down and suite.batches:
            raise WholebodyError(
                "--batch is of crops, for top-down students; DOPE takes one picture at a time"
            )
        if not dope and suite.proposals:
            raise WholebodyError("--proposals is for DOPE students, and none is given: leave it out")

    def _export(self, checkpoint: Path, output: Path, size: tuple[int, int], proposals: int) -> None:
        with WorkerProcess(checkpoint.name, self.threads) as process:
            process.ask("export", checkpoint, output, size, proposals)

    # --- one group ----------------------------------------------------------------------------------------

    def _group(self, crew: Crew, scene: Scene, group: list[Contender]) -> list[Run]:
        """Measured, or found in the file where all of it is there."""
        ids = {c: self._identity(c, scene, group) for c in group}
        if all(name in self.known for name in ids.values()):
            self.tell(f"found in {self.file}")
            return [self.known[name] for name in ids.values()]
        members = crew.members(group, scene)
        if members and all(ids[contender] in self.known for contender in members):
            self.tell(f"found in {self.file}")
            return [self.known[ids[contender]] for contender in members]
        timed = take_turns(
            members,
            scene,
            self.suite.seconds,
            meters={c: member.meter for c, member in members.items() if member.meter is not None},
            device_memory=crew.device_memory,
            tell=self.tell,
        )
        where = provenance(self.machine)
        turn = run_id({"ids": list(ids.values()), "when": datetime.now(timezone.utc).isoformat()})
        lines = [
            {"kind": "latency", "id": ids[c], "group": turn, **where, "threads": self.threads, **rest}
            for c, rest in self._records(members, timed, scene, ids)
        ]
        for line in lines:
            if self.file is not None:
                append_run(self.file, line)
        return lines

    def _identity(self, contender: Contender, scene: Scene, group: Sequence[Contender]) -> str:
        detector = self.detector if isinstance(contender.network.spec, TopDownSpec) else None
        return identity(
            contender, scene, group, detector=detector, threads=self.threads, seconds=self.suite.seconds
        )

    def _records(
        self,
        members: Mapping[Contender, Member],
        timed: Mapping[Contender, Timed],
        scene: Scene,
        ids: Mapping[Contender, str],
    ) -> Iterator[tuple[Contender, Run]]:
        for contender, done in timed.items():
            base = base_of(contender, list(timed), self.suite.against)
            plain = scene.encoded is not None and isinstance(contender.network.spec, StudentSpec)
            try:
                peak: Any = members[contender].ask("host_peak_mb")
                stages: Any = (
                    members[contender].ask("network_stages", self.suite.seconds / 4) if plain else {}
                )
            except WholebodyError as error:
                self.tell(f"{error}; left out")
                continue
            yield contender, record(
                contender, members[contender], done, scene,
                base=None if base is None else (ids[base], timed[base]),
                detector=self.detector, host_peak_mb=peak, network_stages=stages,
            )  # fmt: skip


def _detector(path: Path) -> dict[str, Any]:
    if is_engine(path):
        plan = read_sidecar(path)
        spec = spec_from_dict(plan.student) if plan.student else describe_detector(path.with_name(plan.onnx))
        sha256 = plan.sha256
    elif is_exported(path):
        artefact = read_artefact(path)
        spec, sha256 = artefact.spec, artefact.sha256
    else:
        spec = describe_detector(path)
        sha256 = spec.weights.sha256
    if not isinstance(spec, DetectorSpec):
        raise ArtefactError(f"{path} is a student, {spec.name}; --detector finds people for one")
    return model_entry(path.name, sha256, spec, path.stat().st_size)
