"""`rehearse`: the verbs, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import types
from typing import NoReturn

import typer
from typer.exceptions import TyperException

from rehearse import __version__
from rehearse.cli import (
    clean,
    compare,
    data,
    doctor,
    drift,
    explain,
    judge,
    report,
    run,
    traffic,
    up,
    workload,
)
from rehearse.errors import ExitCode, RehearseError

app = typer.Typer(
    name="rehearse",
    help="Rehearse a schema migration under production-like load: go or no-go, with the evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.run)
app.command("compare")(compare.compare)
app.command("judge")(judge.judge)
app.command("report")(report.report)
app.command("explain")(explain.explain)
app.command("drift")(drift.drift)
app.command("traffic")(traffic.traffic)
app.add_typer(data.app, name="data")
app.add_typer(workload.app, name="workload")
app.command("up")(up.up)
app.command("doctor")(doctor.doctor)
app.command("clean")(clean.clean)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rehearse {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Rehearse a schema migration under production-like load: go or no-go, with the evidence."""


def _interrupt(_number: int, _frame: types.FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """The console script. Exit codes: see `rehearse.errors.ExitCode`."""
    # A pipeline that is cancelled sends SIGTERM: it gets the same orderly end as Ctrl-C.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        # the verbs end by typer.Exit, which comes back as a number
        sys.exit(app(standalone_mode=False) or 0)
    except TyperException as error:
        _usage(error)
    except RehearseError as error:
        print(f"rehearse: {_one_line(str(error))}", file=sys.stderr)  # noqa: T201 - the last word
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("rehearse: interrupted", file=sys.stderr)  # noqa: T201 - the last word
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.ENVIRONMENT)
    except Exception as error:
        # A defect of ours must not look like a NO-GO, which is what Python's own exit code would say.
        traceback.print_exc()
        print(f"rehearse: a defect of Rehearse itself: {type(error).__name__}", file=sys.stderr)  # noqa: T201 - as above
        sys.exit(ExitCode.ENVIRONMENT)


def _usage(error: TyperException) -> NoReturn:
    """A wrong flag or verb. An empty message means that the help has been printed already."""
    message = _one_line(error.format_message()).rstrip(".")
    if message:
        mend = "see `rehearse --help` and `rehearse VERB --help`"
        print(f"rehearse: {message[:1].lower()}{message[1:]}; {mend}", file=sys.stderr)  # noqa: T201 - as above
    sys.exit(ExitCode.USAGE)


def _one_line(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    main()
