"""Detectors of frames that are like none of the classes: one interface, one file each."""

from sel_edge.runtime.novelty.fit import DEFAULT, METHODS, Calibrated, Method, calibrate, fit
from sel_edge.runtime.novelty.interface import Novelty

__all__ = ["DEFAULT", "METHODS", "Calibrated", "Method", "Novelty", "calibrate", "fit"]
