"""The commands of the main job, one after another, as a user types them."""

import json
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from sel_edge.cli.main import COMMANDS, cli
from tests.conftest import DATA, QUICK


def test_every_command_has_help(call):
    for name in COMMANDS:
        assert call(name, "--help").out.startswith(f"Usage: sel-edge {name}")
    assert set(COMMANDS) == set(cli.list_commands(None))


def test_pretrain_prints_json(call, tmp_path):
    options = ["--recipe", "dense", "--json", *QUICK]
    result = call("pretrain", "--data", DATA, "--out", tmp_path / "run", *options)
    numbers = json.loads(result.out)
    assert result.code == 0 and numbers["energy_origin"] in ("measured", "estimated")
    assert numbers["epochs"] == 2 and 0 <= numbers["test_full_acc"] <= 1


def test_compare_writes_both_tables_and_all_plots(call, workshop, tmp_path):
    out = tmp_path / "compare"
    result = call("compare", workshop / "dense", workshop / "sel-paper", "--out", out)
    assert result.code == 0
    assert len(list(out.glob("*.svg"))) == 12
    assert "executed" in result.out and "tables.md" not in result.out
    numbers = json.loads((out / "tables.json").read_text())
    assert numbers["savings"]["executed_flops"] == pytest.approx(
        1 - numbers["sel"]["executed_flops"] / numbers["dense"]["executed_flops"]
    )


def test_compare_refuses_what_cannot_be_compared(call, workshop):
    result = call("compare", workshop / "sel-paper", workshop / "dense")
    assert result.code == 3
    result.says("dense")


def test_inspect_verifies_and_describes(call, workshop):
    result = call("inspect", workshop / "bundle")
    assert result.code == 0
    assert "every hash is right" in result.out and "0, 1, 2, 3" in result.out
    manifest = json.loads(call("inspect", workshop / "bundle", "--json").out)
    assert manifest["anchors_held_out"] is True
    assert manifest["provenance"]["data"]["spec"] == DATA


def test_the_bundle_holds_the_held_out_anchors(workshop):
    anchors = load_file(workshop / "bundle" / "anchors.safetensors")
    assert np.bincount(anchors["labels"]).tolist() == [10, 10, 10, 10]


def test_exporting_without_held_out_anchors_says_so(call, workshop, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(workshop / "dense", run)
    info = json.loads((run / "run.json").read_text())
    info["data"]["holdout"] = 0
    (run / "run.json").write_text(json.dumps(info))
    result = call("export", run, "--out", tmp_path / "bundle")
    assert result.code == 0 and "--holdout" in result.err
    assert (
        json.loads(call("inspect", tmp_path / "bundle", "--json").out)["anchors_held_out"] is False
    )


def test_a_run_goes_on_where_an_earlier_one_stopped(call, workshop, tmp_path):
    source = "digits?classes=0,1,2,3&n=64&labels=0.2"
    for frames in (64, 128):
        result = call(
            "run", workshop / "bundle", "--source", source, "--state", tmp_path / "s", "--json"
        )
        assert result.code == 0
        assert json.loads(result.out)["streams"][0]["frames"] == frames


def test_report_writes_a_page_and_the_same_numbers(call, workshop, tmp_path):
    source = "digits?classes=0,1,2,3&n=64&labels=0.2"
    assert call("run", workshop / "bundle", "--source", source, "--state", tmp_path).code == 0
    result = call("report", tmp_path)
    assert result.code == 0 and (tmp_path / "report.html").exists()
    assert json.loads(call("report", tmp_path, "--json").out)["streams"][0]["frames"] == 64


def test_doctor_names_versions_threads_and_meter(call):
    result = call("doctor")
    assert result.code == 0
    for word in ("onnxruntime", "threads", "energy", "cache", "torch"):
        assert word in result.out
    assert json.loads(call("doctor", "--json").out)["findings"]


def test_an_unknown_command_is_wrong_usage(call):
    assert call("fly").code == 2
    assert call("pretrain", "--out", "x").code == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_checkpoint_that_resumes(tmp_path, number):
    out = tmp_path / "run"
    program = [sys.executable, "-c", "from sel_edge.cli.main import main; main()", "pretrain"]
    arguments = ["--data", DATA, "--recipe", "dense", "--width", "8", "--precision", "fp32"]
    arguments += ["--out", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [*program, *arguments], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("epoch"):
                process.send_signal(number)
                break
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "--resume" in rest and "Traceback" not in rest
    done = subprocess.run(
        [*program, "--resume", "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["epochs"] == 30


def test_resume_takes_no_other_options(call, workshop):
    result = call("pretrain", "--resume", "--out", workshop / "dense", "--width", "16")
    assert result.code == 6
    result.says("--width", "run.json")
