"""From a new process to the first inference with the runtime alone.

python -m tools.step_bench.cold_ours BUNDLE THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path

from sel_edge.bundle.bundle import open_bundle
from sel_edge.runtime.engine import Engine


def main() -> None:
    """Infer one image and say so."""
    bundle = open_bundle(Path(sys.argv[1]))
    images = bundle.anchors().frames[:1]
    features, logits = Engine(bundle, int(sys.argv[2])).infer(images)
    print(features.shape, logits.shape, flush=True)


if __name__ == "__main__":
    main()
