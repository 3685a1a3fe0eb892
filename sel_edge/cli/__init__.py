"""The command line: one file per command, each importing its room only when it is called.

Owns options, progress bars, exit codes and how errors are shown. Never owns a rule of training or
adapting; it wires the rooms together.
"""
