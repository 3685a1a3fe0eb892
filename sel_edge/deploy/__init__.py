"""A Raspberry Pi over SSH: releases that are checked, switched to at once, and gone back from.

Owns: what a release is, how it gets over, what the machine does with it (`agent`, which runs there
with nothing but Python's standard library), and whether it became healthy.

Never handles a password, never becomes root, and never leaves a machine without a release that
works.
"""
