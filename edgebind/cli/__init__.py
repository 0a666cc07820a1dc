"""`edgebind`: one small file a command. A command parses, calls the library once and prints."""

from __future__ import annotations

import contextlib
import errno
import importlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from edgebind import __version__
from edgebind.wording import CLEAR

# Listed by hand, so that `--help` imports none of them: name -> one line for the list of commands.
COMMANDS = {
    "export": "Checkpoint -> ONNX -> simplified -> calibrated -> a bundle.",
    "calibrate": "Recordings for INT8: collect, check, record; and ranges.",
    "build": "A bundle's TensorRT engine, on the device or ahead.",
    "run": "Stream a sensor, live or recorded, into the space.",
    "embed": "Embed recordings into one NPZ file.",
    "labels": "Embed new prompts for the runtime to recognise.",
    "compare": "Two bundles, graphs or backends on the same windows.",
    "inspect": "Show what a bundle is and check that it is whole.",
    "triton": "Bundles as models of a Triton Inference Server.",
    "bench": "Latency, throughput, memory and energy of bundles.",
    "bind": "Train a tower into the space from a recipe.",
    "distil": "Teach a small tower what a large one knows.",
    "evaluate": "How good encoders are, side by side.",
    "doctor": "What this machine can run, and why not the rest.",
}

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells count it: 128 + SIGINT."""


class _LazyGroup(click.Group):
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _quiet_when_nobody_reads():  # --help
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _quiet_when_nobody_reads():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"edgebind.cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@contextlib.contextmanager
def _quiet_when_nobody_reads() -> Iterator[None]:
    """The reader of our output went away (`| head`): nothing is wrong. click would leave with 1."""
    try:
        yield
    except BrokenPipeError:
        _print_to_nobody()
        raise click.exceptions.Exit(0) from None


def _print_to_nobody() -> None:
    """What is left in the buffer of standard output must not be flushed to where it cannot go."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgebind")
def group() -> None:
    """Put sensors, pictures and words into one embedding space, on a Jetson.

    \b
    edgebind export --precision int8      make INT8 bundles of the starter space
    edgebind run --sensor imu             stream a sensor and name what it sees
    edgebind doctor                       find out what this machine can run
    """


def main(arguments: list[str] | None = None, command: click.Command = group, name: str = "edgebind") -> int:
    """Run one command, or another program's own; returns its exit code: 0, 1 for a failure of edgebind itself, 2 for bad input, 130 for Ctrl-C."""
    from edgebind.errors import EdgebindError

    try:
        command.main(args=arguments, prog_name=name, standalone_mode=False)
    except click.exceptions.Abort:
        _tell("interrupted; nothing half-written is left")
        return INTERRUPTED
    except click.ClickException as error:
        _tell(_line(error))
        return error.exit_code
    except click.exceptions.Exit as error:
        return error.exit_code
    except EdgebindError as error:
        _tell(str(error))
        return 2
    except OSError as error:
        place = _place(error)
        if place is None:
            raise
        _tell(f"{place}: {error.strerror}")
        return 2
    return 0


def _tell(fault: str) -> None:
    """The one line, in a terminal in the place of an unfinished one that told how far the work was."""
    clear = CLEAR if sys.stderr.isatty() else ""
    click.echo(f"{clear}edgebind: {fault}", err=True)


def _place(error: OSError) -> str | None:
    """Where the system refused: a path that may not be looked at, or what we print into, as by `> file` on a full disk."""
    if error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT):
        _print_to_nobody()
        return "standard output"
    if error.filename is None and error.errno == errno.ENOENT:  # of getcwd alone
        return "the working folder"
    return error.filename


def _line(error: click.ClickException) -> str:
    """click's own complaint about an option, as one line and with the command that explains it."""
    line = " ".join(error.format_message().split()).rstrip(".")
    place = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx is not None else ""
    return f"{line} (see {place} --help)" if place else line


def run() -> None:
    """Entry point of the installed `edgebind` command."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by whoever started us; a file that is opened would take its number
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        _escape_what_cannot_be_shown(getattr(sys, name))
    for ending in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(ending) is signal.SIG_DFL:  # `nohup` has it ignored
            signal.signal(ending, _leave)
    sys.exit(main())


def _escape_what_cannot_be_shown(stream: TextIO) -> None:
    """A prompt in Chinese in a Latin-1 terminal is shown with escapes; it is no reason to fail."""
    if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
        stream.reconfigure(errors="backslashreplace")


def _leave(number: int, frame: object) -> None:
    """A service that is stopped leaves as after Ctrl-C: what is open is closed, what was embedded is written."""
    sys.exit(128 + number)
