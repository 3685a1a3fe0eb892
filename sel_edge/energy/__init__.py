"""Joules: device profiles and the meters that read or estimate what was spent.

Owns the profile format and every source of energy readings. Never mixes measured with estimated
joules, and never decides what to do about them.
"""
