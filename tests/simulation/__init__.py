"""A simulated world that attacks the production code with years of faults.

The core, the runner and the whole Kafka adapter run as they are. What is simulated is what they
call: confluent-kafka's clients over a broker with groups and transactions (`kafka`), the check
API (`check_api`: the one of `consumer.simulator` without its sockets), clocks, processes that
stop, die and come back. The HTTP client alone is left out; `Sender` keeps its contract.

One seed decides about everything: `plan` draws the world, its `load` and its `bad_luck`, `world` lets
them happen on one axis of integer microseconds (`hub`), `checkers` judge by what a reader of the
topics or the vendor's server would see. Nothing reads a clock, a random source or a hash order
of the machine: the same seed leaves the same trace.

A pod's Kafka thread is a greenlet that goes back to the hub where a client's call would block;
its asyncio loop has virtual timers (`loop`). While nothing can happen the thread sleeps through
its turns (`kafka.consumer.Idle`), so an idle pod costs next to nothing.

What is assumed is what the promises assume (design §2): a request reaches the server within the
hold or never, wall clocks agree within a second, one process of a name at a time, nobody else
asks. What goes wrong goes wrong within that, until `plan.faults_end_us`; then all must settle.

Not simulated: several brokers, loss of records, retention, a second group.

    python -m tests.simulation --seeds 1000 --first 1    # the first seed that fails, if any
    python -m tests.simulation --seed 42                 # its trace, the same every time
    python -m tests.simulation.mutants                   # planted bugs: each must be found
"""
