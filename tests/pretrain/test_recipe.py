"""Recipes are frozen data that reject what they do not know."""

import dataclasses
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sel_edge.core.errors import ConfigError
from sel_edge.pretrain.recipe import load_recipe, recipe_from_dict, recipe_names


def test_dense_is_the_published_baseline():
    recipe = load_recipe("dense")
    assert (recipe.learning_rate, recipe.batch_size, recipe.crop_padding) == (1e-3, 64, 4)
    assert recipe.flip and not recipe.staged and recipe.gradient_mask is None
    assert [stage.epochs for stage in recipe.stages] == [30]


def test_sel_paper_is_the_published_curriculum():
    recipe = load_recipe("sel-paper")
    slices = [(s.start, s.end, s.threshold, s.epochs) for s in recipe.stages]
    assert slices == [
        (0.0, 0.25, 0.30, 10),
        (0.20, 0.50, 0.45, 10),
        (0.40, 0.65, 0.58, 10),
        (0.60, 0.82, 0.68, 10),
        (0.78, 1.0, 0.76, 10),
    ]
    assert recipe.gate == "report" and recipe.images_per_class_max == 2000
    assert recipe.loss_gain == 2.0
    mask = recipe.gradient_mask
    assert mask is not None
    assert (mask.percentile, mask.batch_size, mask.decay) == (20.0, 128, 0.4)


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_survives_a_round_trip_through_plain_data(name):
    recipe = load_recipe(name).scaled(0.3)
    assert recipe_from_dict(recipe.as_dict()) == recipe


def test_a_recipe_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        load_recipe("dense").batch_size = 1  # type: ignore[misc]


def test_scaling_keeps_at_least_one_epoch_per_stage():
    assert [s.epochs for s in load_recipe("sel-paper").scaled(0.01).stages] == [1] * 5


@pytest.mark.parametrize("images", [2, 40, 166, 1499, 60_000])
def test_few_images_are_practised_in_more_epochs(images):
    recipe = load_recipe("sel")
    longer = recipe.lasting(images)
    steps = longer.epochs * ceil(images / longer.batch_size)
    assert steps >= 0.9 * recipe.steps_min > 0
    assert longer.epochs == recipe.epochs or steps <= 1.1 * recipe.steps_min
    assert recipe.scaled(0.1).lasting(images).epochs <= max(longer.epochs * 0.2, len(recipe.stages))


def test_as_many_steps_as_a_recipe_may_ask_for_are_met_by_few_images():
    recipe = load_recipe("sel", ["steps_min = 1_000_000"])
    assert recipe.lasting(2).epochs == pytest.approx(1_000_000, rel=0.01)
    with pytest.raises(ConfigError, match="steps_min"):
        recipe.scaled(2)


@given(st.integers(2, 200_000))
def test_few_images_have_smaller_steps_and_smaller_rates(images):
    recipe = load_recipe("sel")
    fitted = recipe.lasting(images)
    size = fitted.batch_size
    assert min(64, recipe.batch_size) <= size <= recipe.batch_size
    assert size in (64, recipe.batch_size) or images // size == recipe.epoch_steps_min
    for name in ("learning_rate", "conv_rate"):
        shrunk = getattr(fitted, name) / getattr(recipe, name)
        assert shrunk**2 == pytest.approx(size / recipe.batch_size)
    assert fitted.lasting(images) == fitted or fitted.epochs > recipe.epochs


def test_overrides_change_single_keys():
    recipe = load_recipe("dense", ["crop_padding = 1", "flip=false", 'gate="repeat"'])
    assert (recipe.crop_padding, recipe.flip, recipe.gate) == (1, False, "repeat")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("learnin_rate = 1", "learnin_rate"),
        ("batch_size = 'big'", "batch_size"),
        ("batch_size = 1", "batch_size"),
        ("flip = 1", "flip"),
        ("gate = 'open'", "gate"),
        ("learning_rate = nan", "learning_rate"),
        ("stages = []", "stages"),
        ("stages = [{name = 'x', start = 0.5, end = 0.1, epochs = 1}]", "x"),
        ("stages = [{name = 'x', start = 0.0, end = 1.0, epochs = 1, speed = 2}]", "speed"),
        ("gradient_mask = {percentil = 3}", "percentil"),
        ("not toml", "not toml"),
    ],
)
def test_what_a_recipe_does_not_know_is_refused_by_name(override, named):
    with pytest.raises(ConfigError, match=named):
        load_recipe("dense", [override])


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["scores = 'losses'", "images_per_class_max = 3"], "images_per_class_max"),
        (["skip = 0.5"], "skip_parts"),
        (["settled = 0.1", "gate = 'repeat'"], "gate"),
        (["stages = [{name = 'x', start = 0.0, end = 1.0, epochs = 1, views = 2}]"], "frozen"),
    ],
)
def test_what_does_not_go_together_is_refused(overrides, named):
    with pytest.raises(ConfigError, match=named):
        load_recipe("dense", overrides)


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(ConfigError, match="dense, dense-strong, sel, sel-paper"):
        load_recipe("desne")


def test_a_recipe_file_may_be_the_users_own(tmp_path):
    path = tmp_path / "quick.toml"
    path.write_text('[[stages]]\nname = "All"\nstart = 0\nend = 1\nepochs = 2\n')
    recipe = load_recipe(str(path))
    assert (recipe.name, recipe.stages[0].epochs) == ("quick", 2)
    path.write_text("speed = 9\n" + path.read_text())
    with pytest.raises(ConfigError, match="speed"):
        load_recipe(str(path))
