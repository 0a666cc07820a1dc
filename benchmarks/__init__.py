"""Latency, throughput, memory and energy of bundles, measured honestly."""

if __name__ != "edgebind.benchmarks":
    raise ImportError(
        "import it as edgebind.benchmarks: the folder benchmarks/ at the top of the repository is a part of the package"
    )
