"""The simulation has been seen to fail: it finds every planted bug, within a few seeds."""

import pytest

from tests.simulation.mutants.catalogue import MUTANTS, Mutant
from tests.simulation.mutants.hunt import ROOT, hunt, plant

BUDGET = 60
"""Seeds from a mutant's own on: it finds the bug at once as long as plans stay as they are."""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """By the seed that found it first, or else by one of the next."""
    found = hunt(mutant, first=mutant.seed, seeds=BUDGET)
    assert found.seed is not None, f'"{mutant.name}": {found.text}'


def test_a_mutant_that_no_longer_fits_the_code_is_an_error() -> None:
    """Or it would be hunted in vain, and found missing for the wrong reason."""
    stale = Mutant("stale", "runner.py", "a text that is nowhere", "", 1)
    with pytest.raises(ValueError, match=r"occurs 0 times in runner\.py"):
        plant(stale, ROOT / "consumer")
