"""How much storage watching saves in an hour of video, and which novel things it misses.

    python -m tools.bench_watch [DATA] [--run RUN] [--bundle BUNDLE] [--places home,street]
        [--seeds N] [--quick] [--out FILE]

Exports a run of fewer classes than DATA has and makes videos with tools/watch_videos.py: the
classes that it never saw are the near novelty, digits and pieces of a flower the far one. Four
places: `home`, where nearly all passes are by things that come again and again; `busy`, where half
again as many do; `street`, where one in five is a known thing that never came before; `crowd`,
where all are, so that only the network can tell. DATA is a data SPEC (default: cifar10-jpeg.tar.gz
in the directory SEL_EDGE_TEST_DATA, or ../shared/data). Prints one JSON object as its last line;
its storage_saved and novel_missed are the worst of the seeds, and the sum, at the first place.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sel_edge.bundle.bundle import Bundle, open_bundle
from sel_edge.core import provenance
from sel_edge.data.sources import load_splits
from sel_edge.runtime.engine import peak_memory_bytes
from sel_edge.watch.report import report
from sel_edge.watch.truth import read_truth
from sel_edge.watch.video import open_video
from sel_edge.watch.watch import WatchSettings, watch
from tools.adapt_bench.subject import NETWORKS
from tools.bench_novelty import ARCHIVE, export
from tools.publish import publish
from tools.watch_videos import Cast, Story, make_cast, make_video

PLACES = {
    "home": Story(passes_per_minute=2, residents=20),
    "busy": Story(),
    "street": Story(fresh=0.2),
    "crowd": Story(fresh=1.0, residents=0),
}
FIRST_SEED = 40
"""The numbers in sel_edge/watch were chosen with seeds below."""
CAP = 0.1
"""Of the video's size, that the clips may have."""
QUICK_S = 600.0


def main() -> None:
    """Measure and print."""
    folder = Path(os.environ.get("SEL_EDGE_TEST_DATA", "../shared/data"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("data", nargs="?", default=str(folder / ARCHIVE))
    parser.add_argument("--run", type=Path, default=NETWORKS / "eight")
    parser.add_argument("--bundle", type=Path, help="an exported one in place of a run")
    parser.add_argument("--places", default=",".join(PLACES))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one seed, ten minutes")
    parser.add_argument("--out", type=Path, help="file for the same object, indented")
    options = parser.parse_args()
    splits = load_splits(options.data)
    with TemporaryDirectory(prefix="sel-edge-") as temporary:
        place = Path(temporary)
        bundle = (
            open_bundle(options.bundle)
            if options.bundle
            else export(options.run, options.data, place / "bundle")
        )
        unseen = [name for name in splits.test.classes if name not in bundle.manifest.classes]
        cast = make_cast(splits.test, unseen)
        rows = [
            hour(bundle, cast, told(name, seed, options.quick), name, place)
            for name in options.places.split(",")
            for seed in range(FIRST_SEED, FIRST_SEED + (1 if options.quick else options.seeds))
        ]
    found = {
        **summary(rows),
        "rows": rows,
        "cap": CAP,
        "unseen": unseen,
        "network": bundle.manifest.bundle_hash,
        "data_note": splits.note,
        "peak_memory_bytes": peak_memory_bytes(),
        "machine": provenance.machine(),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
    }
    publish(found, options.out)


def told(name: str, seed: int, quick: bool) -> Story:
    """The story of a place."""
    story = replace(PLACES[name], seed=seed)
    return replace(story, seconds=QUICK_S, near=1, far=1) if quick else story


def hour(bundle: Bundle, cast: Cast, story: Story, name: str, folder: Path) -> dict[str, Any]:
    """Make one video, watch it, and say what came of it."""
    path = make_video(folder / "video.mp4", story, cast)
    video, events = open_video(path), read_truth(path.with_suffix(".csv"))
    with TemporaryDirectory(dir=folder) as out:
        settings = WatchSettings(cap_bytes=int(CAP * video.bytes), threads=1)
        watched = watch(video, bundle, Path(out), settings)
        found = report(video, watched, events)
    path.unlink()
    novel_s = sum(event.end_s - event.start_s for event in events)
    return {"place": name, "seed": story.seed, "novel_share": novel_s / story.seconds, **found}


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Of each place; the numbers of the first stand for the whole."""
    places = {}
    for name in dict.fromkeys(row["place"] for row in rows):
        own = [row for row in rows if row["place"] == name]
        groups = [(key, group) for row in own for key, group in row["truth"]["groups"].items()]
        missed: dict[str, dict[str, int]] = {}
        for key, group in groups:
            sums = missed.setdefault(key, dict.fromkeys(group, 0))
            for field, count in group.items():
                sums[field] += count
        places[name] = {
            "storage_saved": min(row["storage_saved"] for row in own),
            "time_saved_by_motion_only": min(row["time_saved_by_motion_only"] for row in own),
            "novel_events": sum(row["truth"]["events"] for row in own),
            "novel_missed": sum(row["truth"]["missed"] for row in own),
            "missed": missed,
            "frames_per_s": min(row["frames_per_s"] for row in own),
        }
    first = next(iter(places.values()))
    return {
        **{name: first[name] for name in ("storage_saved", "novel_events", "novel_missed")},
        "places": places,
    }


if __name__ == "__main__":
    main()
