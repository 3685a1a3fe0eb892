"""`sel-edge pretrain`: train a ResNet-18 with a recipe, on images or signals."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click
from click.core import ParameterSource
from rich.console import Console

from sel_edge.cli.finite import FiniteRange
from sel_edge.cli.signals import stop_on_signal
from sel_edge.cli.training_display import TrainingDisplay
from sel_edge.cli.training_meter import own_meter
from sel_edge.core.errors import INTERRUPTED_EXIT_CODE, ConfigError
from sel_edge.core.runlog import RUN_FILE, RunLog, read_run
from sel_edge.data.spec import parse_data
from sel_edge.pretrain.describe import RunOptions, is_asked_for
from sel_edge.pretrain.initialize import Init
from sel_edge.pretrain.loop import RunInterruptedError
from sel_edge.pretrain.model import MODELS, WIDTHS
from sel_edge.pretrain.precision import Precision
from sel_edge.pretrain.ranks import leads, restarted
from sel_edge.pretrain.recipe import load_recipe
from sel_edge.pretrain.run import resume_run, start_run

# What torch and numpy both take.
MAX_SEED = 2**32 - 1


@click.command("pretrain")
@click.option(
    "--data", help="Data SPEC: digits, cifar10, cifar10:PATH, folder:PATH, npz:PATH, signals:PATH."
)
@click.option(
    "--skip-bad",
    is_flag=True,
    help="Train without images that cannot be decoded: ?bad=skip in the SPEC.",
)
@click.option(
    "--model",
    type=click.Choice(list(MODELS)),
    help="For images and for signals; default: the one that fits the data.",
)
@click.option(
    "--width",
    type=click.Choice([str(w) for w in WIDTHS]),
    default="64",
    show_default=True,
    help="Channels of the first stage.",
)
@click.option(
    "--recipe",
    default="sel",
    show_default=True,
    help="One of dense, dense-strong, sel, sel-paper, or a .toml.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change one key of the recipe, in TOML syntax; may be repeated.",
)
@click.option(
    "--epochs-scale",
    type=FiniteRange(0, 100, min_open=True),
    default=1.0,
    show_default=True,
    help="Multiply the epochs of every stage.",
)
@click.option(
    "--init",
    type=click.Choice(["scratch", "imagenet"]),
    default="scratch",
    show_default=True,
    help="First weights: random, or torchvision's (width 64 only).",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto times both, and layouts, for a moment and takes the fastest.",
)
@click.option(
    "--compile/--no-compile",
    "compile_network",
    default=True,
    show_default=True,
    help="On a GPU, let torch compile the network first.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, MAX_SEED),
    default=0,
    show_default=True,
    help="Fixes first weights, order, augmentation and anchors.",
)
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
    ctx: click.Context,
    /,
    data: str | None,
    skip_bad: bool,
    model: str | None,
    width: str,
    recipe: str,
    overrides: tuple[str, ...],
    epochs_scale: float,
    init: Init,
    device: str,
    precision: Precision | Literal["auto"],
    compile_network: bool,
    seed: int,
    holdout: int,
    out: Path,
    resume: bool,
    as_json: bool,
) -> int:
    """Train a ResNet-18 with a recipe, on images or signals.

    Ctrl-C leaves a checkpoint; --resume goes on to the result the run would have had. A resumed run
    takes everything from its run.json; only --data may say where the same data are now.

    Several GPUs, or processes, train together with
    torchrun --nproc-per-node N -m sel_edge pretrain ...; with --max-restarts, torchrun goes on from
    the last checkpoint when one of them dies.
    """
    console = Console(stderr=True, quiet=not leads())
    try:
        if resume:
            _refuse_options(ctx)
            run = _resume(out, data, console)
        else:
            if data is None:
                raise click.UsageError("--data is needed (for example --data digits).")
            scaled = load_recipe(recipe, overrides).scaled(epochs_scale)
            options = RunOptions(
                data=str(replace(parse_data(data), skip_bad=True)) if skip_bad else data,
                recipe=scaled,
                model=model,
                width=int(width),
                init=init,
                device=device,
                precision=precision,
                compile=compile_network,
                seed=seed,
                holdout=holdout,
                epochs_scale=epochs_scale,
            )
            run = _begin_or_go_on(out, options, console)
    except RunInterruptedError:
        place = shlex.quote(str(out))
        if leads():
            click.echo(f"Interrupted. Go on: sel-edge pretrain --resume --out {place}", err=True)
        return INTERRUPTED_EXIT_CODE
    if leads():
        _show(run, as_json)
    return 0


def _begin_or_go_on(out: Path, options: RunOptions, console: Console) -> RunLog:
    """Start a run; or resume it, where torchrun has started the group that ran it again."""
    if not (restarted() and (out / RUN_FILE).is_file()):
        return start(out, options, console)
    run = read_run(out)
    if not is_asked_for(options, run.info):
        return start(out, options, console)
    return run if run.info["finished"] else _resume(out, None, console)


def start(out: Path, options: RunOptions, console: Console) -> RunLog:
    """Train from the first weights, with progress on `console`; errors as `start_run`."""
    with stop_on_signal() as stop, TrainingDisplay(console) as display:
        return start_run(out, options, own_meter(options.device), display, stop)


def _resume(out: Path, data: str | None, console: Console) -> RunLog:
    info = read_run(out).info
    with stop_on_signal() as stop, TrainingDisplay(console) as display:
        return resume_run(out, own_meter(info["device"]), display, stop, data)


def _refuse_options(ctx: click.Context) -> None:
    for parameter in ctx.command.params:
        name = str(parameter.name)
        given = ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if given and name not in ("out", "resume", "data", "as_json"):
            raise ConfigError(
                f"--resume was given together with {parameter.opts[0]}.",
                "A resumed run takes everything but --data from its run.json.",
                "Leave the other options out, or start a new run in another directory.",
            )


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
