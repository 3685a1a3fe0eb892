"""Real networks on real images: Python, C on this machine and an emulated RV32IMC core agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sel_edge.core.errors import MissingDependencyError
from tests.real_data import cifar10_archive
from tests.tools_needed import missing_tool
from tools.mcu_bench.agreement import all_answers, mismatches
from tools.mcu_bench.emulator import check_tools
from tools.mcu_bench.subject import make_subject


@pytest.mark.proof
@pytest.mark.parametrize(("width", "images"), [(8, 1000), (16, 100)])
def test_every_logit_is_the_same_everywhere(width: int, images: int, tmp_path: Path) -> None:
    try:
        check_tools()
    except MissingDependencyError as error:
        missing_tool(str(error))
    subject = make_subject(width, f"cifar10:{cifar10_archive()}", tmp_path)
    answers = all_answers(subject.image, subject.frames[:images])
    assert set(answers) == {"reference", "host fast", "host plain", "rv32 fast"}
    shape = (images, 3 + len(subject.image.classes))
    assert all(numbers.shape == shape for numbers in answers.values())
    assert mismatches(answers) == 0
    labels = answers["rv32 fast"][:, 0]
    assert np.mean(labels == subject.labels[:images]) > 0.7
