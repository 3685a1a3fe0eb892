"""The plots of a comparison, as SVG files that suit light and dark screens.

The only place that imports matplotlib. Every drawing takes what `report.system` and `core.runlog`
read and returns a finished Plot; nothing here touches a file or computes a result.
"""
