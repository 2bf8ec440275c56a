"""``dynakv completion`` and ``dynakv man``: what shells and man(1) know of the command."""

from __future__ import annotations

import re

import click

from dynatwist import __version__

from .work import CONDITION, INTERRUPTED, LOGIN, NOT_FOUND, REFUSED, UNREACHABLE, USAGE

STATUSES = {
    0: "It was done.",
    REFUSED: "It was refused, or failed.",
    USAGE: "The command was not understood.",
    UNREACHABLE: "No node answered.",
    NOT_FOUND: "There is no such record.",
    CONDITION: "A condition did not hold: somebody else has written.",
    LOGIN: "A login is needed, or failed.",
    INTERRUPTED: "Ctrl-C.",
}
"""Exit statuses; those of lock and elect are the command's."""


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print what has SHELL complete commands, tables and keys.

    \b
    bash:  source <(dynakv completion bash)
    zsh:   source <(dynakv completion zsh)
    fish:  dynakv completion fish | source
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    root = context.find_root()
    click.echo(made(root.command, {}, "dynakv", "_DYNAKV_COMPLETE").source())


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the man page: dynakv man | man -l -"""
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    lines = [
        f'.TH DYNAKV 1 "" "DynaTwist {__version__}" "User Commands"',
        ".SH NAME",
        "dynakv \\- a replicated key-value store: client and demo",
        ".SH SYNOPSIS",
        ".B dynakv",
        "[OPTIONS] COMMAND [ARGS]...",
        ".SH OPTIONS",
        *_options(root.command, root),
        ".SH COMMANDS",
        *_commands(root.command, root, ()),
        ".SH EXIT STATUS",
    ]
    for status, text in STATUSES.items():
        lines += [".TP", f".B {status}", _roff(text)]
    click.echo("\n".join(lines))


def _commands(group: click.Group, context: click.Context, names: tuple[str, ...]) -> list[str]:
    lines: list[str] = []
    for name, command in sorted(group.commands.items()):
        here = (*names, name)
        if isinstance(command, click.Group) and not command.invoke_without_command:
            lines += _commands(command, context, here)
            continue
        words = " ".join(command.collect_usage_pieces(context))
        lines += [f".SS {_roff(' '.join(here))} {_roff(words)}", _roff(command.help or "")]
        lines += _options(command, context)
    return lines


def _options(command: click.Command, context: click.Context) -> list[str]:
    lines: list[str] = []
    for parameter in command.get_params(context):
        shown = parameter.get_help_record(context)
        if shown is not None:
            lines += [".TP", f".B {_roff(shown[0])}", _roff(shown[1])]
    return lines


def _roff(text: str) -> str:
    text = re.sub(r"\s*\n\s*", " ", text.replace("\b", "")).strip()
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
