"""Three top-level folders install as parts of the package; every other datum stands in pyproject.toml."""

from setuptools import find_namespace_packages, find_packages, setup

LAYERS = ("export", "calibration", "benchmarks")


def packages() -> dict[str, str]:
    """Package name -> folder. To setuptools a folder of recordings is a package too, one without code."""
    found = {name: name.replace(".", "/") for name in find_namespace_packages(include=["edgebind", "edgebind.*"])}
    for layer in LAYERS:
        # The links edgebind/<layer> are for editors and type checkers; the wheel takes the folders themselves.
        found = {name: folder for name, folder in found.items() if not f"{name}.".startswith(f"edgebind.{layer}.")}
        inner = find_packages(include=[layer, f"{layer}.*"])
        found |= {f"edgebind.{name}": name.replace(".", "/") for name in inner}
    return found


folders = packages()
setup(packages=sorted(folders), package_dir=folders)
