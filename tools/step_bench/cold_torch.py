"""From a new process to the first inference with torch.

python -m tools.step_bench.cold_torch WEIGHTS WIDTH THREADS
"""

from __future__ import annotations

import sys

import torch
from safetensors.torch import load_file

from sel_edge.pretrain.model import ResNet18


def main() -> None:
    """Infer one image and say so."""
    torch.set_num_threads(int(sys.argv[3]))
    state = load_file(sys.argv[1])
    network = ResNet18(len(state["fc.bias"]), int(sys.argv[2])).eval()
    network.load_state_dict(state, assign=True)
    with torch.inference_mode():
        logits = network(torch.zeros(1, 3, 32, 32))
    print(logits.shape, flush=True)


if __name__ == "__main__":
    main()
