"""The adaptation benchmark: stories a deployed network lives through, and who copes with them how.

`stories` says what happens, `subject` which network it happens to, `contestants` who adapts and
how, `torch_tuning` the yardstick, `scores` what is reported.
"""
