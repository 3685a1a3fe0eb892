"""The microcontroller benchmark: what boards, their networks and the line to them cost.

`emulator` is a board without hardware, `host` the same C on this machine; `counting` runs the
measuring program on the emulated one, `agreement` compares what all of them answer. `line` is a
serial line as slow, and if wanted as bad, as a real one; `speed` says how much of it a transfer
uses, `deltas` what is to be transferred, `subject` the networks that all of it is about.
"""
