"""Chaos on the real thing: a real cluster, real processes, real signals, and faults from one seed.

    make chaos                                   # 10 minutes at 500 gifts/s
    .venv/bin/python -m tests.chaos --help       # shorter, faster, another seed

Three Kafka brokers (replication 3, two in sync), three consumers under a supervisor that
restarts whatever ends, as Kubernetes does, the simulated API; between the consumers and everything
else stand proxies. First come faults of all kinds, one over the other, one every 2 to 6 seconds;
then, each alone, those after which results must flow again in a promised time. At the end
`giftcheck audit` must find exactly one right answer for each gift, every verdict must be true by
what the simulated API knows, no room may have had 21 requests in any second, and no process may
have needed a person (exit codes 2, 71, or a crash).

    proxy     TCP, in between: cuts, holds, slows, halves what passes
    cluster   three brokers behind three proxies
    pods      consumers under supervision
    plan      which fault when, drawn from a seed; the same for the same seed
    scene     all of it, with load, reader and ledger
    inject    a planned fault, done
    waits     how long results kept somebody waiting
    report    what came of it, in words and as JSON
"""
