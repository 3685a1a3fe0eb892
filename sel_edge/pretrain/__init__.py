"""The reference trainer: torch on a workstation, one loop for every recipe.

Owns models, recipes, the curriculum, gradient masks, checkpoints and FLOP counting. Never writes a
Bundle (that is `compile`) and is never imported by anything that runs on an edge device.
"""
