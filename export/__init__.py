"""torch -> ONNX -> simplified -> precision -> gate -> bundle."""

if __name__ != "edgebind.export":
    raise ImportError(
        "import it as edgebind.export: the folder export/ at the top of the repository is a part of the package"
    )
