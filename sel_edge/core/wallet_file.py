"""A wallet that outlives its process: one small file, replaced in one step."""

from __future__ import annotations

import json
import math
from pathlib import Path

from sel_edge.core.budget import Budget
from sel_edge.core.errors import RunDirectoryError
from sel_edge.core.files import canonical_json, write_atomic
from sel_edge.core.wallet import Wallet

WALLET_FILE = "wallet.json"
SAVED_EVERY_S = 600.0
"""Seconds after which spending that nobody reserved, such as inference's, is saved."""


class WalletFile:
    """A wallet and where it is kept; without any limit, nothing is ever written.

    Args:
        path: the file; the wallet starts full if there is none.
        budget: the limits.
        now_s: seconds since 1970.

    Attributes:
        wallet: what may be spent.
        writes: how often the file was written.

    Raises:
        RunDirectoryError: the file is damaged.
    """

    def __init__(self, path: Path, budget: Budget, now_s: float) -> None:
        self._path, self._saved_s, self.writes = path, now_s, 0
        self.wallet = _load(path, budget, now_s)

    def save(self, now_s: float) -> None:
        """Make durable what was spent and what is reserved.

        Raises:
            StorageError: the disk is full, read-only or failing; `save_if_due` tries again.
        """
        self._saved_s = -math.inf  # as long as it is not
        if self.wallet.balances():
            write_atomic(self._path, canonical_json(self.wallet.to_state()))
            self.writes += 1
        self._saved_s = now_s

    def save_if_due(self, now_s: float) -> None:
        """Save if the last time is long ago or failed, or the clock was set back."""
        if abs(now_s - self._saved_s) >= SAVED_EVERY_S:
            self.save(now_s)


def _load(path: Path, budget: Budget, now_s: float) -> Wallet:
    try:
        state = json.loads(path.read_bytes())
    except FileNotFoundError:
        return Wallet(budget, now_s)
    except (OSError, ValueError, RecursionError) as error:
        raise RunDirectoryError(
            f"The wallet {path} cannot be read: {error}.",
            "The file that sel-edge saved is expected.",
            "Restore it from a backup; without one, remove it and the wallet starts anew.",
        ) from error
    return Wallet.from_state(budget, state, now_s)
