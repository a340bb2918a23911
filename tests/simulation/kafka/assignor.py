"""Cooperative-sticky: balanced, moving as little as it can, in two rounds where something moves.

What is to move is given to nobody in the round that takes it from its owner; the owner gives it
up, joins again, and that round gives it away.
"""

from collections.abc import Mapping

Claim = tuple[int, frozenset[int]]
"""The generation in which a member last owned something, and what."""


def assign(partitions: int, claims: Mapping[str, Claim]) -> dict[str, frozenset[int]]:
    """Each member's share; `claims` in the order of the members' names."""
    owner_of: dict[int, str] = {}
    for member, (generation, claimed) in claims.items():
        for partition in sorted(claimed):
            other = owner_of.get(partition)
            if other is None or claims[other][0] < generation:
                owner_of[partition] = member
    kept: dict[str, list[int]] = {member: [] for member in claims}
    for partition in range(partitions):
        if partition in owner_of:
            kept[owner_of[partition]].append(partition)
    least, more = divmod(partitions, len(claims))
    target = {member: list(owned) for member, owned in kept.items()}
    # Those that own most may keep one more than the others.
    by_size = sorted(claims, key=lambda member: -len(kept[member]))
    for place, member in enumerate(by_size):
        del target[member][least + (place < more) :]
    taken = {partition for owned in target.values() for partition in owned}
    for partition in range(partitions):
        if partition not in taken:
            smallest = min(target, key=lambda member: len(target[member]))
            target[smallest].append(partition)
    return {
        member: frozenset(
            partition for partition in share if owner_of.get(partition, member) == member
        )
        for member, share in target.items()
    }
