"""A simulated Kafka: one broker, and clients that look like confluent-kafka's.

    log           a partition: records, markers, the last stable offset
    transactions  the transaction coordinator: epochs, fencing, time-outs, markers
    group         the group coordinator: classic protocol, static members, sessions
    assignor      cooperative-sticky
    broker        all of them, and what is wrong with them
    calls         one request of a client: its way there and back, repetitions, time-outs
    membership    what a consumer does in the background to stay in its group
    consumer, producer, admin   the clients, with the methods that the adapter calls

What it claims of Kafka is held against a real one by `tests/contract`. Not simulated: several
brokers (an unclean election loses records, which no client can prevent), retention, quotas, the
group protocol of KIP-848.
"""
