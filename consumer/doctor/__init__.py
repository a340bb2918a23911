"""`giftcheck doctor`: what can be wrong before a start, each with what to do.

    run       everything at once: Kafka in a thread, the check API on a loop; bounded by 30 s
    cluster   what is asked of Kafka, in which order, and how nothing that runs is disturbed
    topics    judges topics and brokers' limits; no I/O
    group     who is in the group, and whether its progress can be gone on from
    sample    the newest gifts: can they be read, and are they keyed by room
    group_rights    what this user may do with the group, in a process of its own
    vendor    one check for each app, about nobody's gift
    findings  levels, findings, report and exit code
    screen    the report for people and as JSON

It judges with the code of a start wherever there is one (`Startup`, `StartRule`, `CheckApi`), so
it says what the service would say. All checks are made even if one fails, where that makes sense.
"""

from consumer.doctor.run import run_doctor

__all__ = ["run_doctor"]
