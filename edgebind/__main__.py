"""`python -m edgebind` is `edgebind`."""

from edgebind.cli import run

run()
