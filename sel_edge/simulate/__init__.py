"""Days in minutes: the real runtime on the real stream, on a board that is only computed.

Nothing here waits. Whatever is executed takes the time and the joules that a device profile says,
a battery pays for it, and the sun fills the battery.
"""
