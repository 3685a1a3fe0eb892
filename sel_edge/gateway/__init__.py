"""A host beside a microcontroller: samples up, learning on the host, changed channels down.

Owns what binds the runtime to a board at the end of a line: making frames of samples, choosing the
network that the board is to run, seeing that it does the same in integers, and keeping what was
sent. Never learns (the runtime does), never speaks the protocol (the link does), never quantizes
(mcu does).
"""
