"""The adaptation benchmark: stories a deployed network lives through, and who copes with them how.

`stories` says what happens, `subject` which network it happens to, `contestants` who adapts and
how; `yardstick` is the best that torch can do, `device` the runtime, `records` what need not be
measured again, `pace` what makes wall times comparable, `report` what is said of it all.
"""
