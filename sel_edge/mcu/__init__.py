"""What a microcontroller runs: the model image, overlays of it, and what it computes with them.

Owns the bytes of images, payloads and manifests (docs/SPEC.md), the rule by which float parameters
become integers, and an exact reference of the integer arithmetic. Never compiles a graph, runs an
ONNX file, loads data or talks to a board.
"""
