"""The command as a whole: whatever goes wrong is told in one line, and has an exit status."""

from __future__ import annotations

import os
import sys
from difflib import get_close_matches
from typing import NoReturn

import click

from .work import INTERRUPTED, REFUSED, USAGE


def run_command(command: click.Group) -> NoReturn:
    """Run what the command line asks for, and end the process."""
    try:
        status = command.main(prog_name="dynakv", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        _say_usage(command, error)
        status = USAGE
    except click.ClickException as error:
        click.echo(f"dynakv: {error.format_message()}", err=True)
        status = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(err=True)
        status = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left goes nowhere, without a word
        status = REFUSED
    raise SystemExit(status if isinstance(status, int) else 0)


def _say_usage(command: click.Group, error: click.UsageError) -> None:
    text = error.format_message()
    if text.startswith("Usage:"):  # a group was called without a command: that is a question
        click.echo(text, err=True)
        return
    asked = error.ctx.command_path if error.ctx is not None else "dynakv"
    group = error.ctx.command if error.ctx is not None else command
    if text.startswith("No such command") and "Did you mean" not in text and isinstance(group, click.Group):
        near = get_close_matches(text.split("'")[1], group.commands, 1)
        text = f"{text.rstrip('.')}" + (f"; did you mean {near[0]}?" if near else "")
    click.echo(f"dynakv: {' '.join(text.split()).rstrip('.')} ({asked} --help)", err=True)
