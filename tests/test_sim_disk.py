"""The simulated disk's threads."""

from __future__ import annotations

from dynatwist.sim.disk import SimDisk, SimWriter
from dynatwist.sim.world import Process, World


def test_a_disk_that_is_well_again_finishes_what_it_had_to_do():
    """Five pieces of work that take a minute each were to take five, though the disk was slow for a second only."""
    world = World(0)
    disk = SimDisk(world.random)
    writer = SimWriter(world, Process(world, "node"), disk)
    disk.stall_s = 60.0
    done: list[BaseException | None] = []
    for _ in range(5):
        writer.submit(lambda: None, done.append)
    world.run(1.0)
    assert not done
    assert disk.busy_until_s > 300.0
    disk.stall_s = 0.0
    world.run(1.1)
    assert done == [None] * 5
    assert disk.busy_until_s == 0.0
