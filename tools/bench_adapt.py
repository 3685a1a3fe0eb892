"""Who adapts best, and at what cost: thirteen stories, torch's ways and the device's.

    python -m tools.bench_adapt --data cifar10:PATH [--quick] [--json] [--seeds 3]
        [--networks DIR] [--yardstick DIR] [--wallets FILE] [--kills FILE] [--out FILE]

The networks are finished runs of `sel-edge pretrain --holdout`, one on all ten classes and one on
all but cat and truck; those of the repository unless others are named. What torch's contestants
reach is kept in --yardstick and used again as long as nothing has changed that it depends on; an
interrupted run goes on from there. Processes with scenarios of their own (--scenarios) may fill one
such directory together; with OMP_NUM_THREADS=1 they share the cores better than threads do.
Prints one JSON object as its last line.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sel_edge.core import provenance
from sel_edge.data.dataset import Splits
from sel_edge.data.sources import load_splits
from tools.adapt_bench.contestants import CONTESTANTS, Stage
from tools.adapt_bench.device import DEVICE
from tools.adapt_bench.outcome import Outcome
from tools.adapt_bench.pace import Pace, fastest
from tools.adapt_bench.records import Records
from tools.adapt_bench.report import DEVICE as THE_DEVICE
from tools.adapt_bench.report import REPLAY, YARDSTICK, Row, scenario_row, summary
from tools.adapt_bench.stories import NEW_CLASSES, QUICK, STORIES, Size, tell
from tools.adapt_bench.subject import NETWORKS, Subject, make_subject
from tools.adapt_bench.way import WAYS, Way
from tools.adapt_bench.yardstick import QUICK_SEARCH, Search, best_first, full, uniform_replay
from tools.publish import publish

ALL = (*CONTESTANTS, YARDSTICK, *DEVICE, REPLAY)
QUICK_ONES = ("none", "last_layer", "statistics_only", YARDSTICK, THE_DEVICE, REPLAY)


@dataclass(frozen=True)
class Bench:
    """What is the same for all scenarios.

    Attributes:
        splits: all images.
        subject: the network of a name.
        size: of the stories.
        seeds: how many.
        contestants: names of those that take part.
        search: for the yardstick.
        records: of torch's contestants.
        way: how torch computes.
    """

    splits: Splits
    subject: Callable[[str], Subject]
    size: Size
    seeds: int
    contestants: tuple[str, ...]
    search: Search
    records: Records
    way: Way

    def scenario(self, name: str) -> Row:
        """Tell a story to everybody, once per seed."""
        found: dict[str, list[Outcome]] = {contestant: [] for contestant in self.contestants}
        onset = 0
        for seed in range(self.seeds):
            story = tell(name, self.splits.test, self.size, seed)
            onset = story.onset
            stage = Stage(story, self.subject(story.network), seed, self.way)
            first = {who: outcomes[0] for who, outcomes in found.items() if outcomes}
            for who, outcome in self._cope(stage, first).items():
                found[who].append(outcome)
        return scenario_row(name, found, onset)

    def _cope(self, stage: Stage, first: Mapping[str, Outcome]) -> dict[str, Outcome]:
        """What comes of one story with one seed; `first` is what came of it with the first."""
        found: dict[str, Outcome] = {}
        for name, contestant in CONTESTANTS.items():
            if name in self.contestants:
                found[name] = self.records.outcome(name, contestant, stage)
        batch_statistics = True
        if YARDSTICK in self.contestants:
            best = full(self.search, first.get(YARDSTICK))
            found[YARDSTICK] = self.records.outcome(YARDSTICK, best, stage)
            batch_statistics = next(iter(best_first(found[YARDSTICK]).values()))[0].batch_statistics
        pace = Pace(stage, batch_statistics)
        pace.time()
        ours = {name: run(stage) for name, run in DEVICE.items() if name in self.contestants}
        pace.time()
        if REPLAY in self.contestants:
            replay = uniform_replay(ours[THE_DEVICE].flops, self.search.rates)
            found[REPLAY] = self.records.outcome(REPLAY, replay, stage)
        return ours | {name: pace.priced(outcome) for name, outcome in found.items()}


def main() -> None:
    """Measure, print, and keep what is to be kept."""
    options = _options()
    scenarios, started = options.scenarios.split(","), provenance.commit()
    with tempfile.TemporaryDirectory(prefix="sel-edge-") as folder:
        networks = _Networks(options, Path(folder))
        way, times = _way(options.way, networks)
        bench = Bench(
            splits=networks.splits,
            subject=networks.subject,
            size=QUICK if options.quick else Size(),
            seeds=1 if options.quick else options.seeds,
            contestants=options.contestants,
            search=QUICK_SEARCH if options.quick else Search(),
            records=Records(options.yardstick),
            way=way,
        )
        rows = []
        for name in scenarios:
            rows.append(bench.scenario(name))
            if not options.json:
                print(_brief(rows[-1]), file=sys.stderr, flush=True)
    report = {
        "scenarios": rows,
        **summary(rows),
        "budget_overruns": _recorded(options.wallets, "overruns"),
        "kills": _recorded(options.kills, "kills"),
        "lost": _recorded(options.kills, "lost"),
        "suite": options.suite,
        "quick": options.quick,
        "seeds": bench.seeds,
        "size": asdict(bench.size),
        "search": asdict(bench.search),
        "way": str(way),
        "way_ms": times,
        "networks": networks.notes(),
        "new_classes": list(NEW_CLASSES),
        "data": without_folders(options.data),
        "data_note": networks.splits.note,
        "commit": started,
        "machine": provenance.machine(),
        "versions": provenance.versions(),
    }
    publish(report, options.out)


def _brief(row: Row) -> str:
    """Accuracies of a scenario, for those who wait."""
    cells = [
        f"{strategy} {' '.join(f'{name} {one:.1%}' for name, one in found['accuracy'].items())}"
        for strategy, found in row["strategies"].items()
    ]
    return f"{row['scenario']}: {'; '.join(cells)}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="SPEC of CIFAR-10")
    parser.add_argument("--networks", type=Path, default=NETWORKS, help="holds ten and eight")
    parser.add_argument("--ten", type=Path, help="run trained on all ten classes")
    parser.add_argument("--eight", type=Path, help="run trained on all but cat and truck")
    parser.add_argument("--suite", choices=["core"], default="core")
    parser.add_argument("--scenarios", default=",".join(STORIES))
    parser.add_argument("--contestants", help="all of them, or a few with --quick")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="One seed, short stories and search.")
    parser.add_argument("--way", choices=["auto", *map(str, WAYS)], default="auto")
    parser.add_argument("--yardstick", type=Path, help="directory of torch's recorded outcomes")
    parser.add_argument("--wallets", type=Path, help="what tools/wallet_sim.py printed")
    parser.add_argument("--kills", type=Path, help="what tools/powercut.py printed")
    parser.add_argument("--out", type=Path, help="file for the same object, indented")
    parser.add_argument("--json", action="store_true", help="No progress on stderr.")
    options = parser.parse_args()
    everybody = QUICK_ONES if options.quick else ALL
    names = options.contestants.split(",") if options.contestants else list(everybody)
    options.contestants = tuple(names)
    if unknown := [*(set(names) - set(ALL)), *(set(options.scenarios.split(",")) - set(STORIES))]:
        parser.error(f"nothing is called {', '.join(unknown)}")
    if REPLAY in names and THE_DEVICE not in names:
        parser.error(f"{REPLAY} spends what {THE_DEVICE} spends and needs it")
    return options


class _Networks:
    """The networks of the stories, exported when they are first asked for.

    Args:
        options: of the command line.
        folder: for the bundles.
    """

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.splits = load_splits(options.data)
        self._options, self._folder = options, folder
        self._subjects: dict[str, Subject] = {}

    def subject(self, name: str) -> Subject:
        """The network "ten" or "eight"."""
        if name not in self._subjects:
            run: Path = getattr(self._options, name) or self._options.networks / name
            spec, splits = self._options.data, self.splits
            if name == "eight":
                kept = [one for one in splits.train.classes if one not in NEW_CLASSES]
                spec = f"{spec}?classes={','.join(kept)}"
                splits = load_splits(spec)
            self._subjects[name] = make_subject(run, spec, splits, self._folder / name)
        return self._subjects[name]

    def notes(self) -> dict[str, Any]:
        """How good those that were asked for are where nothing changes."""
        return {
            name: dict(subject.bundle.manifest.accuracy) for name, subject in self._subjects.items()
        }


def _way(wanted: str, networks: _Networks) -> tuple[Way, dict[str, float]]:
    """How torch computes, and by which times that was chosen."""
    if wanted == "auto":
        return fastest(networks.subject("ten"))
    return next(way for way in WAYS if str(way) == wanted), {}


def _recorded(file: Path | None, key: str) -> Any:
    return json.loads(file.read_text())[key] if file else None


def without_folders(spec: str) -> str:
    """A SPEC with the file's name alone: where it lay is nobody's business."""
    kind, _, rest = spec.partition(":")
    path, mark, rules = rest.partition("?")
    return f"{kind}:{Path(path).name}{mark}{rules}" if rest else spec


if __name__ == "__main__":
    main()
