"""What int8 costs a real network on real images."""

from pathlib import Path

import pytest

from sel_edge import zoo
from tests.real_data import cifar10_archive
from tools.bench_int8 import measure


@pytest.mark.proof
def test_at_most_half_a_point_is_lost_on_cifar10():
    """All 8000 test images of the zoo network's classes, for several calibration sets."""
    archive = cifar10_archive()
    run_path = Path(zoo.__file__).parent / "cifar10-8-dense"
    result = measure(run_path, f"cifar10:{archive}", 256, 1, draws=3, rounds=4, most=10**6)
    assert result["test_images"] == 8000
    assert max(draw["loss_points"] for draw in result["draws"]) <= 0.5
    assert min(draw["agreement"] for draw in result["draws"]) >= 0.98
