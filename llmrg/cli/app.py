"""The ``llmrg`` command: its verbs, and how their errors become one line and an exit code.

Promise: every error a user can mend is told in one line on stderr with exit code 1; an interrupted verb says
what is kept and exits with 130; a traceback means a fault of ours.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from llmrg import __version__
from llmrg.cli.batch import batch
from llmrg.cli.compare import compare
from llmrg.cli.doctor import doctor
from llmrg.cli.estimate import estimate
from llmrg.cli.explain import explain
from llmrg.cli.export import export
from llmrg.cli.extend import extend
from llmrg.cli.generate import generate
from llmrg.cli.import_graphs import import_graphs
from llmrg.cli.knowledge import knowledge
from llmrg.cli.prompts import prompts
from llmrg.cli.recommend import recommend
from llmrg.cli.status import status
from llmrg.cli.train import train
from llmrg.cli.verify import verify
from llmrg.cli.view import view
from llmrg.errors import BudgetReached, LlmrgError
from llmrg.plain_text import plain_line

VERBS: dict[str, Callable[..., None]] = {
    "generate": generate,
    "estimate": estimate,
    "batch": batch,
    "extend": extend,
    "compare": compare,
    "train": train,
    "recommend": recommend,
    "explain": explain,
    "view": view,
    "status": status,
    "verify": verify,
    "export": export,
    "import": import_graphs,
    "knowledge": knowledge,
    "prompts": prompts,
    "doctor": doctor,
}
KEPT = {"compare": "the graphs and finished runs are kept", "train": "the graphs are kept"}
"""What a verb that is cut short leaves, where it is not simply all that was finished."""

USER_ERROR, BUDGET_REACHED, INTERRUPTED = 1, 2, 130
MESSAGE_LIMIT = 2000

# typer carries its own copy of click from 0.16 on; these are the classes of whichever it uses
_UsageError: Any = typer.BadParameter.__bases__[0]
_ClickError: Any = _UsageError.__bases__[0]

app = typer.Typer(
    name="llmrg",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """LLM reasoning graphs for RecBole's sequential recommenders.

    \b
    First steps, without a key or a download:
      llmrg doctor
      llmrg compare SASRec ml-100k --max-users 200 --epochs 5
      llmrg view ml-100k-first-200 196
    """
    if show_version:
        typer.echo(f"llmrg {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


for _name, _verb in VERBS.items():
    app.command(_name)(_verb)


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Args:
        arguments: without the program's name.

    Returns:
        The exit code.
    """
    command = typer.main.get_command(app)
    try:
        code = command.main(
            args=list(arguments), prog_name="llmrg", standalone_mode=False, obj=tuple(arguments)
        )
    except (typer.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BudgetReached as end:
        _complain(f"stopped: {end}")
        return BUDGET_REACHED
    except LlmrgError as error:
        _complain(f"error: {error}")
        return USER_ERROR
    except _ClickError as error:
        where = getattr(error, "ctx", None)
        hint = f" (see {where.command_path} --help)" if where is not None else ""
        _complain(f"error: {error.format_message()}{hint}")
        return USER_ERROR
    except BrokenPipeError:
        # the reader of a pipe went away; keep Python from complaining about it once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USER_ERROR
    except MemoryError as error:
        what = f" ({error})" if str(error) else ""  # numpy says how much it wanted
        _complain(f"error: no memory left{what}; {_kept(arguments)}, run the same command with more memory")
        return USER_ERROR
    except OSError as error:
        if error.strerror is None:
            raise
        where = "" if error.filename is None else f"{error.filename}: "  # a full disk names no file
        _complain(f"error: {where}{error.strerror}")
        return USER_ERROR
    except UnicodeEncodeError as error:  # such as an argument in another encoding than the terminal's
        found = error.object[error.start : error.end]  # no more of it: the text may be a secret
        _complain(f"error: expected text that {error.encoding} can hold, found {found!a}")
        return USER_ERROR
    if code == INTERRUPTED:  # which newer versions of typer return by themselves
        _complain(f"interrupted; {_kept(arguments)}, run the same command again")
    return code if isinstance(code, int) else 0


def main() -> None:
    """The entry point."""
    # the text encoder would draw a bar of its own across ours
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    sys.exit(run(sys.argv[1:]))


def _kept(arguments: Sequence[str]) -> str:
    verb = next((word for word in arguments if word in VERBS), "")
    return KEPT.get(verb, "what is finished is kept")


def _complain(text: str) -> None:
    typer.echo(plain_line(text, MESSAGE_LIMIT), err=True)
