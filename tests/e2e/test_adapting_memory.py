"""The peak memory of a process that infers and adapts a ResNet-18 of width 64, in fp32."""

from __future__ import annotations

import pytest

from tools.step_bench.processes import peak_memory
from tools.step_bench.subject import Subject, make_subject

STEPS = 3
LIMITS_MB = {"norm": 160, "head": 115, "tail": 155, "deep": 390, "full": 870}
"""What was measured without pages of files (35 to 50 MB of the peaks in
docs/records/step.json), and 4 to 13 % for other versions of the libraries and other processors."""

pytestmark = pytest.mark.proof


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    return make_subject(tmp_path_factory.mktemp("memory"), width=64, batch=32, frames=32, share=0.1)


@pytest.mark.parametrize("rung", LIMITS_MB)
def test_an_adapting_process_stays_within_its_memory(subject: Subject, rung: str) -> None:
    assert peak_memory(subject, rung, STEPS, threads=1).own_bytes <= 1e6 * LIMITS_MB[rung]
