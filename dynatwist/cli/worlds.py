"""Commands that start simulated clusters."""

from __future__ import annotations

import click

from dynatwist.membership.settings import PARTS


@click.group(invoke_without_command=True)
@click.option("--seeds", type=click.IntRange(1), default=100, show_default=True, help="How many histories.")
@click.option("--minutes", type=click.FloatRange(0, 600), default=0.5, show_default=True, help="Simulated, of each.")
@click.option("--nodes", type=click.IntRange(3, 9), help="How many, instead of what the seed says.")
@click.option("--faults", metavar="NAME,...", help="Only these, instead of those that the seed chooses.")
@click.option("--first", type=click.IntRange(0), help="The first seed, instead of a fresh one.")
@click.option("--jobs", type=click.IntRange(1), help="Processes, instead of one a core.")
@click.option("--replay", type=click.IntRange(0), metavar="SEED", help="Print what happens in one history.")
@click.pass_context
def simulate(
    context: click.Context,
    seeds: int,
    minutes: float,
    nodes: int | None,
    faults: str | None,
    first: int | None,
    jobs: int | None,
    replay: int | None,
) -> None:
    """Run whole clusters in a simulated world, with everything going wrong, and judge every promise."""
    if context.invoked_subcommand is not None:
        return
    from . import simulate as command

    options = command.Options(minutes, nodes, command.check_faults(faults))
    if replay is not None:
        kept = command.replay(replay, options)
    else:
        kept = command.run_many(command.fresh_seed() if first is None else first, seeds, options, jobs or 0)
    raise SystemExit(0 if kept else 1)


@simulate.command()
@click.option("--nodes", type=click.IntRange(2, 20_000), default=100, show_default=True)
@click.option("--loss", type=click.FloatRange(0, 0.9), default=0.0, show_default=True, help="Share of packets lost.")
@click.option("--minutes", type=click.FloatRange(0, 600), default=0.5, show_default=True, help="Of quiet, simulated.")
@click.option("--crashes", type=click.IntRange(0), default=20, show_default=True, help="Nodes that are killed.")
@click.option("--stalled", type=click.IntRange(0), default=0, show_default=True, help="Members that freeze at times.")
@click.option("--blocked", is_flag=True, help="These are cut off instead, and their timers go on.")
@click.option("--shortest", type=click.FloatRange(0.001), default=0.1, show_default=True, help="Seconds of that.")
@click.option("--longest", type=click.FloatRange(0.001), default=30.0, show_default=True, help="Seconds of that.")
@click.option("--no-lifeguard", is_flag=True, help="Plain SWIM with suspicion.")
@click.option("--without", multiple=True, type=click.Choice(PARTS), help="Switch this part off; repeatable.")
@click.option("--random", "random_probes", is_flag=True, help="Probe at random, not in shuffled rounds.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
def membership(
    nodes: int,
    loss: float,
    minutes: float,
    crashes: int,
    stalled: int,
    blocked: bool,
    shortest: float,
    longest: float,
    no_lifeguard: bool,
    without: tuple[str, ...],
    random_probes: bool,
    seed: int,
) -> None:
    """Run the membership protocol alone, by the thousand; prints load, detection time and false alarms."""
    from dynatwist.sim.survey import Scenario

    from . import survey as command

    if stalled > nodes - 2 or (crashes and stalled + 1 >= nodes):
        raise click.ClickException(f"--stalled {stalled}: leave at least two of {nodes} nodes in peace")
    if shortest > longest:
        raise click.ClickException(f"--shortest {shortest:g}: must not exceed --longest, which is {longest:g}")
    scenario = Scenario(
        nodes,
        loss,
        60 * minutes,
        crashes,
        stalled,
        blocked,
        (shortest, longest),
        random_probes,
        frozenset(PARTS if no_lifeguard else without),
    )
    raise SystemExit(0 if command.run(scenario, seed) else 1)
