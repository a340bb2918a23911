"""The rules, and nothing but the rules: no I/O, no clock, no asyncio, no third party.

**States.** A *gift* is pending from the record that tells of it until the *cut* that holds its
result; in between it waits, or is in flight in a *check*. A *permit* of a room is free, in flight,
unknown or cooling. A *partition* is ours from PartitionAssigned to PartitionRevoked, and may be
checked only while its *lease* is held. A *cut* is open from `cut()` until it is committed or
aborted, one at a time.

**Invariants.**
- Every record read gets exactly one answer: it is a gap, a gift's (its result answers it), or a
  dead letter. Its bit in the map is set in the cut that holds that answer.
- A cut holds an offset for every partition it speaks of: that is the fence.
- No check without a permit, a slot and a held lease, all taken in the step that decides it.
- No verdict but from an answer; no UNCONSUMED but on proof of absence (`verdict.open_clause`); no
  UNVERIFIED without a check that was written.
- Nothing runs for an idle room: no object, no timer, no task.

**Time** comes in from outside as `now_ms` (monotonic) and `wall_ms` (Unix), once a turn.

**Reading order**: `model` (the words), `messages` (in and out), `gift` (deadlines), then one
rule, one room: `limiter` (permits), `lease` (hand-over), `backlog` (read first), `hazard`,
`learning` and `window` (when to ask), `verdict` (what an answer means), `reaction` (what an error
means), `split` and `batch` (what a bad request means), `breaker` (the host), `wall_clock` (whom
to believe), `progress`, `answered` and `metadata` (what Kafka keeps), `volume` (how much of it),
`partition` and `assignment` (outbox and cuts), `limits`, `overdue` and `relief` (what is bounded,
and who is given up for it), `fair_queue`, `slots`, `price`, `restraint` and `dispatch` (who asks
next), `decision` (from pending into the outbox), `ending` (what a check's end means), and
`scheduler`, which composes them.
"""
