"""The microcontroller benchmark: what boards, their networks and the line to them cost.

`emulator` is a board without hardware, `counting` runs the measuring program on one, `line` is a
serial line as slow, and if wanted as bad, as a real one.
"""
