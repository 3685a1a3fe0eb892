"""The embedded default data set: the real handwritten digits that come with scikit-learn.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI repository, as
packaged by scikit-learn: 1,797 gray images of 8x8 pixels.
"""

from __future__ import annotations

import numpy as np

from sel_edge.core.errors import MissingDependencyError
from sel_edge.core.files import sha256_bytes
from sel_edge.data.dataset import Dataset, Splits, stratified_split

TEST_IMAGES = 797


def load_digits_splits(source: str) -> Splits:
    """All ten digits: 1,000 training and 797 test images, uint8 [N, 8, 8, 1].

    The original values 0..16 are scaled to 0..255; the split is stratified and always the same.

    Raises:
        MissingDependencyError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingDependencyError(
            "The data set digits comes with scikit-learn, which is not installed.",
            "",
            "Install it with: pip install 'sel-edge[train]', or name a folder or archive instead.",
        ) from error
    content = load_digits()
    images = np.rint(content.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    labels = np.asarray(content.target, dtype=np.int64)
    whole = Dataset(images, labels, tuple(str(name) for name in content.target_names))
    train, test = stratified_split(labels, TEST_IMAGES)
    sha256 = sha256_bytes(images.tobytes() + labels.astype("<i8").tobytes())
    return Splits(whole.subset(train), whole.subset(test), source, sha256, "")
