"""Data sets, archives, folders, corruptions and streams, as numpy arrays.

Owns reading images from files that may be damaged or hostile, the cache of decoded images, batch
augmentation, corruptions, and the SPEC strings that name data sets and streams. Never imports
torch, never extracts an archive to disk, never runs code found in a file, and never changes the
source it reads.
"""
