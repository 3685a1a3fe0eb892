"""Keeps of a video what is new in it, and lets the rest go.

Owns: which segments of a video are novel, how they are kept within a storage cap, and what keeping
everything or everything that moves would have kept instead.

Never learns, and never decides from a truth it was told for scoring.
"""
