"""The file format between workstation and edge: a directory in which every byte is accounted for.

Owns the manifest, the check of every member against it, and the writing of new bundles. Never runs
a network, never changes a bundle that exists, and never lets one read a file outside itself.
"""
