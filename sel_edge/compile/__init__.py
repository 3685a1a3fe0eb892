"""From a network to ONNX graphs that stock onnxruntime runs: the forward pass, and training steps.

Owns loading, folding, differentiation, sparsity, costs, quantization and images for
microcontrollers; `docs/DESIGN.md` has a map of its files. Runs on the workstation only; never
trains, loads data or runs a graph, but to calibrate integers.
"""
