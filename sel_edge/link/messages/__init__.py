"""What host and board say to each other: one dataclass for each request and each answer.

`codec` turns dataclasses into bytes and back and checks every field, `envelope` adds the operation
and the status, `refusal` knows the statuses; the other files hold one group of messages each. Knows
neither frames nor lines.
"""
