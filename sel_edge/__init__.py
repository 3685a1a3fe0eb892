"""sel-edge: train a network by embarrassment, and let it go on learning where it is deployed."""

__version__ = "0.1.0"
