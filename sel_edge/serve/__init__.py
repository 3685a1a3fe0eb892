"""A bundle that lives on a machine: frames from a source, a page for people, messages for houses.

Owns: where live frames come from, which of them are taken when they come too fast, the one thread
that works with the runtime, and what everybody else may know of it (`snapshot`). Data flow one way:
source -> mailbox -> worker -> snapshot -> page, metrics and MQTT; what people ask for goes to the
worker as a request.

Never learns, judges or stores anything itself, and never lets a reader wait for the runtime.
"""
