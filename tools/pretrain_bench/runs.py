"""One run of a comparison: begun, gone on with, or found finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sel_edge.cli.training_meter import own_meter
from sel_edge.core import provenance
from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.runlog import RUN_FILE, RunLog, read_run
from sel_edge.pretrain.describe import RunOptions, is_asked_for
from sel_edge.pretrain.precision import choose_device
from sel_edge.pretrain.run import resume_run, start_run


def trained(asked: RunOptions, out: Path) -> RunLog:
    """A finished run, in `out`, which may hold all or some of it.

    Raises:
        RunDirectoryError: it holds another run, or one of another machine, device or commit.
    """
    meter = own_meter(asked.device)
    if not (out / RUN_FILE).is_file():
        return start_run(out, asked, meter, Nobody(), lambda: False)
    run = read_run(out)
    here = {
        "machine": provenance.machine(),
        "commit": provenance.commit(),
        "device": str(choose_device(asked.device)),
    }
    if not is_asked_for(asked, run.info) or any(run.info[key] != here[key] for key in here):
        raise RunDirectoryError(
            f"{out} holds a run of other options, another machine, device or commit "
            f"({run.info['commit']}).",
            "Only what was begun here, in this way, can be gone on with.",
            "Use another --runs.",
        )
    return run if run.info["finished"] else resume_run(out, meter, Nobody(), lambda: False)


class Nobody:
    """Is told of progress and says nothing of it."""

    def images_skipped(self, *_: Any) -> None: ...

    def run_started(self, *_: Any) -> None: ...

    def stage_started(self, *_: Any) -> None: ...

    def step_done(self, *_: Any) -> None: ...

    def epoch_done(self, *_: Any) -> None: ...

    def gate_checked(self, *_: Any) -> None: ...
