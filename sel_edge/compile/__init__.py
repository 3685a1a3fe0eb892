"""From a trained network to ONNX graphs that stock onnxruntime runs.

Owns the export of the forward graph. Runs on the workstation only and never trains, loads data or
runs a graph.
"""
