"""The HTTP side of a running device: the page's files, the API, events, metrics.

One table (`routes`) says what can be asked for; the application, its checks and the OpenAPI
document are made from it. Nothing here waits for the runtime: what is told is the newest snapshot,
and what is asked for goes to the device.
"""
