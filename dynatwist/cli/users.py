"""``dynakv user`` and ``dynakv group``: who there is; for administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .chosen import Chosen
from .pages import pages, path_of, tell
from .show import show_rows
from .work import fail, run

if TYPE_CHECKING:
    from dynatwist.sync import Client

name_argument = click.argument("name")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def confirm(yes: bool, question: str) -> None:
    """Ask, unless that is not wanted; ends the command if the answer is no."""
    if not yes and not click.confirm(question, err=True):
        fail("nothing was changed")


@click.group("user")
def user_commands() -> None:
    """The users of the cluster; log in as admin first."""


@user_commands.command("list")
@click.pass_obj
def list_users(chosen: Chosen) -> None:
    """List all users."""

    def work(client: Client) -> None:
        found = [one["name"] for page in pages(client, "/admin/users") for one in page["users"]]
        show_rows(chosen, ("user",), [(name,) for name in found])

    run(chosen, work)


@user_commands.command()
@name_argument
@click.option(
    "--secret",
    envvar="DYNAKV_NEW_SECRET",
    prompt="Secret",
    hide_input=True,
    confirmation_prompt=True,
    help="Asked when not given.",
)
@click.pass_obj
def add(chosen: Chosen, name: str, secret: str) -> None:
    """Make user NAME, also where only the administrator does."""

    def work(client: Client) -> None:
        answer = client.call("PUT", path_of("admin", "users", name), {"secret": secret})
        tell(chosen, answer, f"added {name}")

    run(chosen, work)


@user_commands.command("remove")
@name_argument
@yes_option
@click.pass_obj
def remove_user(chosen: Chosen, name: str, yes: bool) -> None:
    """Delete user NAME. The records stay, and whoever registers the name later does not own them."""
    confirm(yes, f"delete the user {name}? The user's records stay, and only administrators reach them then")

    def work(client: Client) -> None:
        tell(chosen, client.call("DELETE", path_of("admin", "users", name)), f"removed {name}")

    run(chosen, work)


@user_commands.command("logout")
@name_argument
@click.pass_obj
def log_out(chosen: Chosen, name: str) -> None:
    """Have all tokens of user NAME stop working."""

    def work(client: Client) -> None:
        answer = client.call("POST", path_of("admin", "users", name, "logout"))
        tell(chosen, answer, f"logged {name} out")

    run(chosen, work)


@click.group("group")
def group_commands() -> None:
    """Groups of users, for rules of tables; log in as admin first."""


@group_commands.command("list")
@click.pass_obj
def list_groups(chosen: Chosen) -> None:
    """List all groups with their members."""

    def work(client: Client) -> None:
        found = [one for page in pages(client, "/admin/groups") for one in page["groups"]]
        is_text = chosen.output in ("", "table", "raw")
        rows = [(one["group"], " ".join(one["members"]) if is_text else one["members"]) for one in found]
        show_rows(chosen, ("group", "members"), rows)

    run(chosen, work)


@group_commands.command("set")
@name_argument
@click.argument("members", nargs=-1)
@click.pass_obj
def set_group(chosen: Chosen, name: str, members: tuple[str, ...]) -> None:
    """Make a group of MEMBERS, and nobody else; members of the group 'admins' are administrators."""

    def work(client: Client) -> None:
        answer = client.call("PUT", path_of("admin", "groups", name), {"members": members})
        tell(chosen, answer, f"{name}: {' '.join(answer['members']) or 'nobody'}")

    run(chosen, work)


@group_commands.command("remove")
@name_argument
@click.pass_obj
def remove_group(chosen: Chosen, name: str) -> None:
    """Delete group NAME; rules that name it mean nobody by that."""

    def work(client: Client) -> None:
        tell(chosen, client.call("DELETE", path_of("admin", "groups", name)), f"removed {name}")

    run(chosen, work)
