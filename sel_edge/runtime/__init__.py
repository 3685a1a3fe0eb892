"""The edge: watches a deployed network, decides when to learn, learns, and keeps only what helped.

Owns the engine and the training steps (onnxruntime is imported in `session` alone), the classifier
head, the trigger, the adapter, the guard, the label memory and the loop that ties them to the
ledger. Never imports torch or onnx, never changes a bundle, and never lets the true labels of a
stream (kept for scoring) near a decision.
"""
