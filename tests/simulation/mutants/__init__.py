"""Planted bugs, each of which the simulation must find: it has been seen to fail.

    python -m tests.simulation.mutants              # all of them: who finds which, with what seed
    python -m tests.simulation.mutants permit lease # those whose names contain one of these words

A mutant is a text of a module of `consumer` and what stands there instead. It is put into a copy
of the package in a temporary folder; if the text is not there any more, that is an error. A
mutant that no seed of `SEEDS_MAX` finds is a hole in the simulation.
"""
