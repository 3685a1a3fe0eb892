"""`python -m sel_edge`, and `torchrun -m sel_edge` on several devices."""

from __future__ import annotations

from sel_edge.cli.main import main

main()
