"""The published CIFAR-10 archive, fetched once through torchvision into the cache directory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from sel_edge.core.errors import MissingDependencyError
from sel_edge.data.cache import cache_directory

_ARCHIVE = "cifar-10-python.tar.gz"


def cifar10_archive() -> Path:
    """Path of the archive, downloaded and checked against torchvision's checksum if need be.

    Raises:
        MissingDependencyError: torchvision is not installed, or the download failed.
    """
    path = cache_directory() / _ARCHIVE
    if path.exists():
        return path
    try:
        from torchvision.datasets import CIFAR10
        from torchvision.datasets.utils import download_url
    except ImportError as error:
        raise _unavailable("torchvision, which fetches it, is not installed") from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as aside:
            download_url(CIFAR10.url, aside, _ARCHIVE, CIFAR10.tgz_md5)
            Path(aside, _ARCHIVE).replace(path)
    except (OSError, RuntimeError) as error:
        raise _unavailable(f"its download failed: {error}") from error
    return path


def _unavailable(why: str) -> MissingDependencyError:
    return MissingDependencyError(
        f"CIFAR-10 is not in {cache_directory()} and {why}.",
        "",
        f"Put the published {_ARCHIVE} there, name a copy as cifar10:PATH, or install "
        "'sel-edge[train]' on a machine with network access.",
    )
