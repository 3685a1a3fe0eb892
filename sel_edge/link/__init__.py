"""The serial link to a board, from the host's side: docs/SPEC.md, "Link, version 1".

Three layers that never mix. `frames` turns messages into bytes of a line and back; `messages/`
says what the messages are; `client` asks, repeats what was lost, and carries deltas and images over
(`exchange` and `transfer` do it). `transport` is the line itself, and alone imports pyserial;
`keys` is the host's key.

Never decides what a board is to run, never reads a bundle's network, and never trusts an answer
that it has not checked.
"""
