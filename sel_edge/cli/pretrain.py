"""`sel-edge pretrain`: train a ResNet-18 with a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console

from sel_edge.cli.signals import stop_on_signal
from sel_edge.cli.training_display import TrainingDisplay
from sel_edge.cli.training_meter import training_meter
from sel_edge.core.errors import INTERRUPTED_EXIT_CODE, ConfigError
from sel_edge.core.runlog import RunLog, read_run
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.model import MODELS, WIDTHS
from sel_edge.pretrain.recipe import load_recipe, recipe_from_dict
from sel_edge.pretrain.run import RunOptions, resume_run, start_run


@click.command("pretrain")
@click.option("--data", help="Data SPEC: digits, cifar10, cifar10:PATH, folder:PATH, npz:PATH.")
@click.option("--model", type=click.Choice(MODELS), default="resnet18", show_default=True)
@click.option(
    "--width",
    type=click.Choice([str(w) for w in WIDTHS]),
    default="64",
    show_default=True,
    help="Channels of the first stage.",
)
@click.option("--recipe", default="dense", show_default=True, help="dense, sel-paper or a .toml.")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the recipe, in TOML syntax; may be repeated.",
)
@click.option(
    "--epochs-scale",
    type=click.FloatRange(0, 100, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply the epochs of every stage.",
)
@click.option(
    "--init", type=click.Choice(["scratch", "imagenet"]), default="scratch", show_default=True
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto times both for a moment and takes the faster one.",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--holdout",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Training images per class kept out of training, as anchors for the device.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The run directory.")
@click.option("--resume", is_flag=True, help="Go on with the interrupted run in --out.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON line.")
@click.pass_context
def command(
    ctx: click.Context, /, out: Path, resume: bool, as_json: bool, **options: object
) -> int:
    """Train a ResNet-18 with a recipe.

    Ctrl-C leaves a checkpoint; --resume goes on to the result the run would have had.
    """
    console = Console(stderr=True)
    try:
        run = _resume(ctx, out, console) if resume else _start(out, console, **options)
    except RunInterruptedError:
        console.print(f"Interrupted. Go on with: sel-edge pretrain --resume --out {out}")
        return INTERRUPTED_EXIT_CODE
    _show(run, as_json)
    return 0


def _start(out: Path, console: Console, **options: object) -> RunLog:
    if options["data"] is None:
        raise click.UsageError("--data is needed (for example --data digits).")
    overrides = options["overrides"]
    assert isinstance(overrides, tuple)  # noqa: S101 - click made it
    scale = float(str(options["epochs_scale"]))
    recipe = load_recipe(str(options["recipe"]), overrides).scaled(scale)
    run_options = RunOptions(
        data=str(options["data"]),
        recipe=recipe,
        width=int(str(options["width"])),
        init="imagenet" if options["init"] == "imagenet" else "scratch",
        device=str(options["device"]),
        precision=str(options["precision"]),
        seed=int(str(options["seed"])),
        holdout=int(str(options["holdout"])),
        epochs_scale=scale,
    )
    with stop_on_signal() as stop, TrainingDisplay(recipe, console) as display:
        meter = training_meter(run_options.device)
        return start_run(out, run_options, meter, display, stop)


def _resume(ctx: click.Context, out: Path, console: Console) -> RunLog:
    given = [
        name
        for name in ctx.params
        if name not in ("out", "resume", "as_json")
        and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise ConfigError(
            f"--resume was given together with --{given[0].replace('_', '-')}.",
            "A resumed run takes everything from its run.json.",
            "Leave the other options out, or start a new run in another directory.",
        )
    info = read_run(out).info
    recipe = recipe_from_dict(info["recipe"])
    with stop_on_signal() as stop, TrainingDisplay(recipe, console) as display:
        return resume_run(out, training_meter(info["device"]), display, stop)


def _show(run: RunLog, as_json: bool) -> None:
    totals = run.info["totals"]
    result = {"out": str(run.path), "recipe": run.info["recipe"]["name"], **totals}
    result |= {"energy_origin": run.info["energy"]["origin"]}
    if as_json:
        click.echo(json.dumps(result))
        return
    click.echo(
        f"{result['recipe']}: {totals['test_full_acc']:.1%} on the whole test set after "
        f"{totals['epochs']} epochs, {totals['seconds']:,.0f} s, "
        f"{totals['executed_flops'] / 1e12:,.2f} TFLOP executed "
        f"({totals['paper_flops'] / 1e12:,.4f} by the paper's count), "
        f"{totals['joules']:,.0f} J {result['energy_origin']}. Written to {run.path}."
    )
