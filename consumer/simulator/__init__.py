"""The simulated check API: the vendor's contract on a loopback port, with the truth known.

Used by `giftcheck simulator`, `giftcheck demo` and the tests, so that all of them speak of the
same thing. A request passes these stations:

    server    sockets, HTTP; delays and holds what `faults` says, in both directions
    exchange  one arrival: counted, struck by a fault or answered, recorded
    api       the vendor's contract: a request and an instant give a `Code` and a body
    truth     what becomes of each gift, drawn from a seed
    arrivals  the record, from which anything can be checked afterwards
    judge     whether a published result agrees with truth and record

Only `server` and `clock` touch the world; the rest is told the time and opens nothing. The
simulator stands for somebody else's machine: its clock is its own and may be set wrong.
"""

from consumer.simulator.arrivals import Arrival, Arrivals
from consumer.simulator.exchange import Simulator, SimulatorSettings
from consumer.simulator.faults import Fault, Faults, Kind
from consumer.simulator.judge import false_verdict
from consumer.simulator.server import SimulatorServer, run_simulator, serve
from consumer.simulator.truth import Fate, Gift, Truth, TruthSettings

__all__ = [
    "Arrival",
    "Arrivals",
    "Fate",
    "Fault",
    "Faults",
    "Gift",
    "Kind",
    "Simulator",
    "SimulatorServer",
    "SimulatorSettings",
    "Truth",
    "TruthSettings",
    "false_verdict",
    "run_simulator",
    "serve",
]
