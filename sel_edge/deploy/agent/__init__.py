"""The agent: what runs on a board while it is deployed to, with nothing but the standard library.

It is sent as one zip file and must start on every Python from 3.9 on, if only to say that a newer
one is needed. docs/SPEC.md, "Releases", has its layout and its conversation.
"""
