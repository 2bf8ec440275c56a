"""Inputs near others, for where there is no atheris: blindly, but from seeds that get far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from .target import MOST_BYTES

BRANCHES_KEPT = 200
MOST_STEPS = 6


def mutations(seeds: Sequence[bytes], words: Sequence[bytes], random: Random) -> Iterator[bytes]:
    """The seeds, then without end what becomes of them, and of what became of them."""
    yield from seeds
    pool = list(seeds) or [b""]
    while True:
        data = bytearray(random.choice(pool))
        for _ in range(random.randint(1, MOST_STEPS)):
            _step(data, pool, words, random)
        made = bytes(data[:MOST_BYTES])
        if random.random() < 0.1:
            if len(pool) < len(seeds) + BRANCHES_KEPT:
                pool.append(made)
            elif len(pool) > len(seeds):
                pool[random.randrange(len(seeds), len(pool))] = made
        yield made


def _step(data: bytearray, pool: Sequence[bytes], words: Sequence[bytes], random: Random) -> None:
    at = random.randrange(len(data) + 1)
    size = min(random.choice((1, 1, 2, 4, 8, 64)), len(data) - at)
    match random.randrange(8):
        case 0 if data:
            data[at - 1] ^= 1 << random.randrange(8)
        case 1 if data:
            data[at - 1] = random.randrange(256)
        case 2:
            del data[at : at + size]
        case 3:
            data[at:at] = data[at : at + size] * random.choice((1, 2, 30))
        case 4 if words:
            data[at:at] = random.choice(words)
        case 5 if words:
            data[at : at + size] = random.choice(words)
        case 6:
            other = random.choice(pool)
            start = random.randrange(len(other) + 1)
            data[at : at + size] = other[start : start + random.choice((1, 8, 64, 1024))]
        case _:
            data[at:at] = random.randbytes(random.choice((1, 2, 8)))
