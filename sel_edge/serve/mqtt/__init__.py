"""A device on a message broker, where Home Assistant finds it by itself.

Owns: which topics there are, what is said on them, and the connection. Reads snapshots, and asks
for one thing only: to learn now.
"""
