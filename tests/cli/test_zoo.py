"""The runs that come with the package are whole and small."""

from pathlib import Path

from sel_edge import zoo
from sel_edge.core.runlog import read_samples
from sel_edge.pretrain.trained import load_trained

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse")


def test_a_network_for_eight_cifar_classes_is_there():
    runs = zoo.find(CLASSES, (32, 32, 3))
    assert set(runs) == {"dense", "sel-paper"}
    trained = load_trained(runs["dense"])
    assert trained.run.info["finished"] and trained.run.info["data"]["holdout"] == 20
    for path in runs.values():
        samples = read_samples(path)
        assert samples is not None and len(samples.labels) == 5 * len(CLASSES)


def test_other_classes_and_images_have_none():
    assert zoo.find(CLASSES[:-1], (32, 32, 3)) == {}
    assert zoo.find(CLASSES, (16, 16, 3)) == {}


def test_all_of_it_stays_under_3_mb():
    folder = Path(zoo.__file__).parent
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 3e6
