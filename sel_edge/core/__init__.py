"""The nouns of the project and their arithmetic.

Owns embarrassment, measurements that know whether they were measured, the ledger, the run log,
errors and safe file writing. Uses numpy and the standard library only, and imports no other room.
"""
