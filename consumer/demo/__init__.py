"""`giftcheck demo`: gifts turn into results before your eyes, and each result is judged.

The consumer is the real one, in a process of its own; around it stand a broker, the simulated
check API, a load generator and a reader. Reading order: `options`, `run` (what is started),
`session` (what is measured), `load`, `reader`, `summary` (what must hold), then `figures` and
`view` (what is shown), `keyboard` and `faults` (trouble at the press of a key). `cluster` says
which Kafka it is.
"""

from consumer.demo.options import DemoOptions

__all__ = ["DemoOptions", "run_demo"]


def run_demo(options: DemoOptions) -> int:
    """Run a demo, print what came of it, and return the exit code: 0 if every promise held.

    Raises:
        GiftcheckError: the demo could not be run to its end; exit code and reason are in it.
    """
    # Late, for the consumer's process and the tests' Kafka are in this package too and need
    # nothing of what a demo imports.
    from consumer.demo.run import run  # noqa: PLC0415

    return run(options)
