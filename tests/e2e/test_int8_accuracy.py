"""What int8 costs a real network on real images."""

import os
from pathlib import Path

import pytest

from sel_edge import zoo
from tools.bench_int8 import measure


@pytest.mark.proof
def test_at_most_half_a_point_is_lost_on_cifar10():
    """All 8000 test images of the zoo network's classes, for several calibration sets."""
    default = Path(__file__).parents[2] / "../shared/data"
    archive = Path(os.environ.get("SEL_EDGE_TEST_DATA", default)) / "cifar10-jpeg.tar.gz"
    if not archive.is_file():
        pytest.skip(f"real data not found: set SEL_EDGE_TEST_DATA (looked for {archive})")
    run_path = Path(zoo.__file__).parent / "cifar10-8-dense"
    result = measure(run_path, f"cifar10:{archive}", 256, 1, draws=3, rounds=4, most=10**6)
    assert result["test_images"] == 8000
    assert max(draw["loss_points"] for draw in result["draws"]) <= 0.5
    assert min(draw["agreement"] for draw in result["draws"]) >= 0.98
