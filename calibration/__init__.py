"""Observers, ranges, Q/DQ placement and the embedding gate."""

if __name__ != "edgebind.calibration":
    raise ImportError(
        "import it as edgebind.calibration: the folder calibration/ at the top of the repository is a part of the package"
    )
