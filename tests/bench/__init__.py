"""Throughput, CPU and memory of the consumer on a real Kafka; `make bench` runs it.

Four processes besides Kafka: the consumer that is measured (`giftcheck run`, nothing else in it),
the simulated API (`api`), and this one, which sends gifts, reads results and judges them. On a
machine with few cores they compete with the consumer; therefore CPU seconds are reported beside
gifts a second, and the consumer's speed beside that of a plain loop (`plain`) from the same run.

    plain   the floor of any consumer with these libraries: consume, decode, encode, produce
    run     draining a backlog, and holding a rate
    gift    what each stage costs one gift, in microseconds
"""
