"""The tables of README.md and docs/MEASURING.md, each from its record."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.pretrain_bench.summary import BASELINE, against

RECORDS = Path(__file__).resolve().parents[1] / "docs" / "records"


def pretraining_table() -> str:
    """The system table of the CIFAR-10 record."""
    record = RECORDS / "cifar10-w16"
    numbers = _read(record / "tables.json")
    infos = [_read(record / recipe / "run.json") for recipe in ("dense", "sel-paper")]
    rows = [
        "| ResNet-18 width 16, CIFAR-10 | epochs, images | test accuracy | FLOPs on paper | "
        "FLOPs executed | time |",
        "|---|---|---|---|---|---|",
    ]
    names = ("dense (baseline)", "sel-paper")
    for name, key, run in zip(names, ("dense", "sel"), infos, strict=True):
        row, totals = numbers[key], run["totals"]
        cells = [
            name,
            f"{totals['epochs']}, {totals['images']:,}",
            f"{row['test_full_acc']:.1%}",
            f"{row['paper_flops'] / 1e12:.3g} T",
            f"{row['executed_flops'] / 1e12:.4g} T",
            f"{row['time_s']:.0f} s",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    saved = numbers["savings"]
    rows.append(
        f"| **saved** | | {100 * saved['test_full_acc']:+.1f} points | "
        f"{saved['paper_flops']:.1%} | "
        f"**{saved['executed_flops']:.1%}** | {saved['time']:.1%} |"
    )
    info, machine = infos[0], infos[0]["machine"]
    scales = " and ".join(str(run["epochs_scale"]) for run in infos)
    note = (
        "From [docs/records/cifar10-w16](docs/records/cifar10-w16/README.md): "
        f"{info['data']['note']}; "
        f"{machine['cores']} cores of {machine['processor']}, {info['precision']}, one seed, "
        f"epochs scaled by {scales}."
    )
    return "\n".join([*rows, "", note, ""])


def recipes_table() -> str:
    """What `sel` reaches and spends beside the strong baseline."""
    record = _read(RECORDS / "pretrain.json")
    rows = [
        "| recipe | epochs | test accuracy | int8 | executed FLOPs | time "
        "| beside `dense-strong`: points, FLOPs, time |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in record["recipes"].items():
        beside = against(row, record["recipes"])[BASELINE]
        cells = [
            f"`{name}`",
            f"{row['epochs']:.0f}",
            f"{row['accuracy_mean']:.2%} ± {row['accuracy_std']:.2%}",
            f"{row['int8_accuracy']:.2%}",
            f"{row['executed_flops'] / 1e12:.0f} T",
            f"{row['time_s']:.0f} s",
            f"{beside['points']:+.2f}, {beside['flops_ratio']:.2f}x, {beside['time_ratio']:.2f}x",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    machine = record["machine"]
    note = (
        f"ResNet-18 width {record['width']}, CIFAR-10 ({record['note']}), {machine['cores']} cores "
        f"of {machine['processor']}; means of {record['seeds']} seeds and their standard "
        f"deviation, int8 of the first. {_as_good(record)} {_worse_classes(record)} From "
        "[docs/records/pretrain.json](records/pretrain.json), written by `tools/bench_pretrain.py`."
    )
    return "\n".join([*rows, "", note, ""])


def _as_good(record: Any) -> str:
    """When the mean of all seeds first was within 0.1 points of the baseline's end."""
    time, flops = (record[f"{name}_to_dense_accuracy_ratio"] for name in ("time", "flops"))
    if time is None:
        return "`sel` did not come within 0.1 points of `dense-strong`."
    return (
        f"`sel` was within 0.1 points of `dense-strong` after {time:.2f}x its time and "
        f"{flops:.2f}x its FLOPs."
    )


def _worse_classes(record: Any) -> str:
    """Those that `sel` is more than a point worse at."""
    points, errors = record["class_points"], record.get("class_points_error")
    worse = sorted((name for name in points if points[name] < -1), key=points.get)
    if not worse:
        return "It is nowhere more than a point under it in a class."
    told = {
        name: f"{points[name]:+.2f}" + (f" ± {errors[name]:.2f}" if errors else "")
        for name in worse
    }
    return (
        f"It is more than a point under it in {', '.join(f'{n} ({t})' for n, t in told.items())}."
    )


CHANGED = {
    "sel": "",
    "sel:logit-norm": "a loss that sees all logits equally loud (`logit_norm`), no label smoothing",
    "sel:spare": "half of the easy images left out (`spare`)",
    "sel:widening-pool": "easy images first, more and more of them (`scores`, `start`, `end`)",
    "sel:settling": "stages end when embarrassment has settled (`settled`)",
    "sel:frozen": "three parts of the network stay as they are in the last stage (`frozen`)",
    "sel:frozen-and-kept": "the same, their output kept (`frozen`, `views`)",
    "sel:skipped-gradients": "no gradients for these parts in half of the steps (`skip`)",
    "sel:no-small-frames": "whole images from the start (no `side`)",
    "sel:no-muon": "Nesterov momentum with steps and rate of `dense-strong` (no `muon`)",
    "sel:recall": "the network's own earlier answers in the labels (`recall`), no label smoothing",
    "sel:no-smoothing": "no label smoothing",
    "sel:mirrored-by-chance": "mirrored by chance (no `flip_in_turn`)",
    "sel:zeros-around": "zeros beyond cropped images (`padding`)",
    "sel:no-parts": "statistics of whole steps (no `part_size`)",
}


def ablations_table() -> str:
    """What `sel` makes of about the same work with one thing changed."""
    # In order of their names: what was measured again, with better settings, is in a later one.
    records = [_read(path) for path in sorted((RECORDS / "pretrain-ablations").glob("*.json"))]
    found = {name: row for record in records for name, row in record["recipes"].items()}
    rows = [
        "| `sel`, changed | epochs | executed FLOPs | test accuracy | points | AUROC of novelty |",
        "|---|---|---|---|---|---|",
    ]
    for name, words in CHANGED.items():
        row, auroc = found[name], found[name]["ood_auroc_near"]
        points = 100 * (row["accuracy_mean"] - found["sel"]["accuracy_mean"])
        cells = [
            words or "as it is",
            f"{row['epochs']:.0f}",
            f"{row['executed_flops'] / 1e12:.1f} T",
            f"{row['accuracy_mean']:.2%}",
            f"{points:+.2f}" if words else "",
            "" if auroc is None else f"{auroc:.2f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    first, unseen = records[0], next(" and ".join(r["unseen"]) for r in records if r["unseen"])
    note = (
        f"ResNet-18 width {first['width']}, CIFAR-10 ({first['note']}), {first['epochs_scale']}x "
        f"the epochs of `sel`, {first['seeds']} seed. Novelty: {unseen}, of a network that never "
        "saw them, told from the other classes. From [docs/records/pretrain-ablations]"
        "(records/pretrain-ablations), written by `tools/bench_pretrain.py`."
    )
    return "\n".join([*rows, "", note, ""])


def adapting_table() -> str:
    """What the device made of the CIFAR-10 stream."""
    summary = _read(RECORDS / "cifar10-main-job" / "summary.json")
    rows = ["| the runtime on a changing stream | before | after |", "|---|---|---|"]
    for subset, words in (
        ("shifted", "accuracy on shifted images"),
        ("new", "accuracy on two classes never seen"),
        ("old", "accuracy on what it knew"),
    ):
        before, after = (summary[f"accuracy_{subset}_{when}"] for when in ("before", "after"))
        rows.append(f"| {words} | {before:.1%} | {after:.1%} |")
    rows.append(
        f"| triggers, of these false | | {summary['triggers']}, {summary['false_triggers']} |"
    )
    record = _read(RECORDS / "cifar10-main-job" / "record.json")
    data = record["device"]["streams"][0]["sessions"][0]["note"]
    note = (
        "From [docs/records/cifar10-main-job](docs/records/cifar10-main-job/README.md): "
        f"{data}; rehearsed on a workstation, shifted by a loss of contrast, one seed. The shift "
        "was chosen with results in view: [how](docs/MEASURING.md)."
    )
    return "\n".join([*rows, "", note, ""])


def training_step_table() -> str:
    """What a training step costs, and the share of the data pipeline in it."""
    record = _read(RECORDS / "training-step.json")
    rows = ["| | median ms | quartiles | n |", "|---|---|---|---|"]
    for name, row in record["rows"].items():
        rows.append(
            f"| {name.replace('_', ' ')} | {row['median_ms']:.2f} | "
            f"{row['q1_ms']:.2f}-{row['q3_ms']:.2f} | {row['n']} |"
        )
    words = record["chosen"].removeprefix("bare_").replace("_", " ")
    baseline = _read(RECORDS / "training-step-dense-strong.json")
    note = (
        f"`{record['recipe']}` at width {record['width']}: {record['threads']} threads, steps of "
        f"{record['batch']} images, bare passes of {record['part']}. `step` is the trainer's, with "
        f"everything between two evaluations, in {words}, the fastest: "
        f"{record['throughput_of_bare']:.1%} of the rate of the bare passes "
        f"(`{baseline['recipe']}`: {baseline['throughput_of_bare']:.1%}). Picking, augmenting "
        f"and normalizing a batch is {record['pipeline_share_of_step']:.1%} of it. A step takes "
        f"{record['step_over_matmul_floor']:.1f}x the time in which one large matrix product would "
        f"do its {record['step_flops'] / 1e9:.1f} GFLOP."
    )
    return "\n".join([*rows, "", note, ""])


RUNG_WORDS = {
    "forward": "the forward pass",
    "norm": "`norm`: statistics of 64 frames",
    "head": "`head`: rows of the classifier",
    "tail": "`tail`: 10 % of the last block's channels",
    "deep": "`deep`: 10 % of every layer's, from half of the network on",
    "full": "`full`: everything",
}


def step_table() -> str:
    """What a step of every rung costs beside torch's."""
    record = _read(RECORDS / "step.json")
    rows = [
        "| one step | sel-edge | torch, same layers | ratio | of torch's full step |",
        "|---|---|---|---|---|",
    ]
    for row in record["rows"]:
        rows.append(
            f"| {RUNG_WORDS[row['rung']]} | {row['ours_ms']:.3g} ms | "
            f"{row['torch_same_ms']:.3g} ms | {row['ratio_same']:.2f} | {row['ratio_full']:.1%} |"
        )
    machine = record["machine"]
    note = (
        f"Medians of {record['rows'][0]['n']} interleaved rounds on one core of "
        f"{machine['processor']}; process start to first inference {record['cold_start_s']:.2f} s, "
        f"torch's {record['torch_cold_start_s']:.2f} s. Gradients differ from torch's float64 by "
        f"{record['grad_max_rel_err']:.0e} at most. From "
        "[docs/records/step.json](docs/records/step.json), written by `tools/bench_step.py`."
    )
    return "\n".join([*rows, "", note, ""])


def stories_table() -> str:
    """What becomes of the device in every story, beside torch."""
    record = _read(RECORDS / "adapt-core.json")
    rows = [
        "| story | as it is | full fine-tuning | sel-edge | of its gain | operations | wall time "
        "| old: full | old: sel-edge |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for scenario in record["scenarios"]:
        ways = scenario["strategies"]
        none, full, device = (ways[name] for name in ("none", "full", "device"))
        new = [_percent(way["accuracy"].get("new")) for way in (none, full, device)]
        old = [_percent(way["accuracy"]["old"]) for way in (full, device)]
        shares = [device["executed_flops_share"], device["wall_share"]]
        gain = _percent(device["gain_share"], 0)
        cells = [*new, gain, *(_percent(share, 2) for share in shares), *old]
        rows.append(f"| {scenario['scenario'].replace('_', ' ')} | {' | '.join(cells)} |")
    machine = record["machine"]
    note = (
        f"Means of {record['seeds']} seeds; accuracy on what changed, then on the old. "
        "Full fine-tuning is torch's best of fourteen settings, chosen by the exam itself. "
        f"{machine['cores']} cores of {machine['processor']}. From "
        "[docs/records/adapt-core.json](docs/records/adapt-core.json), written by "
        "`tools/bench_adapt.py`; [what is measured](docs/MEASURING.md)."
    )
    return "\n".join([*rows, "", note, ""])


def microcontrollers_table() -> str:
    """What two networks cost a microcontroller, and what was proved of all that runs there."""
    record = _read(RECORDS / "mcu.json")
    networks = list(record["networks"].values())
    rows = [
        "| ResNet-18, int8, on RV32IMC | width 8, 10 classes | width 16, 8 classes |",
        "|---|---|---|",
        _cells("image in flash, memory of an inference", networks, _image_and_arena),
        _cells(MCU_INSTRUCTIONS, networks, _instructions),
        _cells("accuracy in fp32, on the device", networks, _accuracies),
    ]
    for rung, words in MCU_DELTAS.items():
        rows.append(_cells(words, networks, functools.partial(_delta, rung=rung)))
    links = record["link_efficiency"]
    speeds = " and ".join(f"{share:.1%} of {int(baud):,}" for baud, share in links.items())
    compared = " and ".join(f"{network['compared_images']:,}" for network in networks)
    note = (
        f"The core is {record['code_bytes']:,} bytes of code. On {compared} test images Python, C "
        f"with both kernels and the emulated core differ in {record['mismatches']} answers, every "
        f"logit compared. An image takes {speeds} baud. After {record['power_cuts']:,} power cuts "
        f"at and inside flash operations {record['bricks']} boards had neither network; of "
        f"{record['fuzz_inputs']:,} fuzzed inputs {record['fuzz_accepted']} were accepted wrongly. "
        "From [docs/records/mcu.json](docs/records/mcu.json), written by `tools/bench_mcu.py`; "
        "[how](docs/MEASURING.md)."
    )
    return "\n".join([*rows, "", note, ""])


MCU_INSTRUCTIONS = "instructions of an inference, and for a multiply-add of 3x3 convolutions"
MCU_DELTAS = {
    "norm": "delta of `norm`: statistics of every layer",
    "head": "delta of `head`: rows of all classes",
    "tail": "delta of `tail`: 10 % of the last block's channels",
}


def _cells(words: str, networks: list[Any], told: Callable[[Any], str]) -> str:
    return f"| {' | '.join([words, *map(told, networks)])} |"


def _image_and_arena(network: Any) -> str:
    return f"{network['model_bytes']:,} and {network['arena_bytes']:,} bytes"


def _instructions(network: Any) -> str:
    each = network["instructions_per_mac"]
    return f"{network['inference_instructions'] / 1e6:.1f} M, {each:.2f}"


def _accuracies(network: Any) -> str:
    return f"{network['accuracy_fp32']:.1%}, {network['accuracy_device']:.1%}"


def _delta(network: Any, rung: str) -> str:
    share = network[f"delta_share_{rung}"]
    return f"{network[f'delta_bytes_{rung}']:,} bytes, {share:.1%} of the image"


def serving_table() -> str:
    """How a device serves, under too much load, for long, and to enemies; what watching keeps."""
    record = _read(RECORDS / "serve.json")
    machine, places = record["machine"], record["watch"]["places"]
    share = record["stream_frames_per_s"] / record["floor_frames_per_s"]
    found = {
        name: f"{row['novel_missed']} of {row['novel_events']}" for name, row in places.items()
    }
    rows = [
        "| `sel-edge serve`, ResNet-18 width 8 | | goal |",
        "|---|---|---|",
        f"| frames answered by HTTP, and the slowest of a hundred "
        f"| {record['frames_per_s']:,.0f} a second, {record['p99_ms']:.0f} ms | |",
        f"| frames from a stream, and of what onnxruntime alone does "
        f"| {record['stream_frames_per_s']:,.0f} a second, {share:.0%} | |",
        f"| the page in a browser at four times that load "
        f"| {record['page_ms_under_load']:.0f} ms | 300 |",
        f"| memory, and its growth in {record['sizes']['soak_min']:g} minutes at full speed "
        f"| {record['rss_mb']:.0f} MB, {record['rss_growth']:.1%} | 2 % |",
        f"| frames answered twice, and lost "
        f"| {record['frames_twice']}, {record['frames_lost']} | 0 |",
        f"| hostile requests not refused, and server errors "
        f"| {record['bad_requests']}, {record['server_errors']} | 0 |",
        f"| deploys cut off, and machines left without a release that works "
        f"| {record['deploy_cuts']}, {record['left_broken']} | 100, 0 |",
        f"| storage that `sel-edge watch` saves, and novel things it misses at a door "
        f"| {record['storage_saved']:.1%}, {found['home']} | 90 %, 0 |",
        f"| missed at a busier door, in a street, in a crowd of strangers "
        f"| {found['busy']}, {found['street']}, {found['crowd']} | |",
    ]
    note = (
        f"{machine['cores']} cores of {machine['processor']}, shared with what loads them. From "
        "[docs/records/serve.json](docs/records/serve.json), written by `tools/bench_serve.py`; "
        "[how](docs/MEASURING.md)."
    )
    return "\n".join([*rows, "", note, ""])


def _percent(share: float | None, digits: int = 1) -> str:
    return "" if share is None else f"{share:.{digits}%}"


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


TABLES: dict[str, Callable[[], str]] = {
    "pretraining": pretraining_table,
    "recipes": recipes_table,
    "ablations": ablations_table,
    "adapting": adapting_table,
    "step": step_table,
    "training-step": training_step_table,
    "stories": stories_table,
    "microcontrollers": microcontrollers_table,
    "serving": serving_table,
}
