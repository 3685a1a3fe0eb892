"""The daemon's benchmark: what a real `sel-edge serve` answers, endures and refuses.

`daemon` is one in a process of its own, `questions` what it says of itself, `connection` a client's
connection to it. `load` sends frames, `marked` makes them, `books` finds those that were answered
twice or lost. `speed` measures without other load, `overload` the page under too much of it (`page`
loads it), `soak` memory over a long time. `mischief` tries all that means no good: `attacks` by
HTTP, which `hostile` sends and judges, `sources` as names and files, `schema` as Schemathesis
thinks of it. `statistics` makes few numbers of many.
"""
