"""`giftcheck audit`: exactly one right answer for each record of gift-sent, or which ones not.

It reads what any downstream reader sees (`read_committed`): first the outputs, gift-result and
the dead letters, into a compact table by source (`answers`), then gift-sent, each record of which
is judged as it passes (`judgement`). A result names its source, so a missing and a doubled one
need nothing but that table; the gift's identity is needed where records of one gift share a
result, and to see whether a result tells of the gift it names.

| found | means |
|---|---|
| missing | a record without result, dead letter or shared result: the group's progress calls it answered, or the time to give up is over |
| duplicate | a second answer to the same source partition and offset |
| contradicting | a `result_id` seen before, with another status |
| foreign | an answer whose source is no record, another gift, or no valid gift; or unreadable |

No defects, but counted: records *pending* (not answered yet, and it is not too late), *shared*
(pending together with an earlier record of the same gift, whose result speaks for both: its
source is the lowest offset), results *repeated* (a record that came after its gift's result was
asked anew), answers *outside* of what was audited (their source lies before or after it).

Memory: 16 bytes for each offset of gift-sent that is audited and 4 for each place in the table
of identities, which is at most 3/4 full: 21 to 27 bytes a gift, all taken at the start. Identities
are kept as 64 bits of the `result_id`: that two of 10 million gifts are taken for one, and so
wrongly called repeated or shared, has a chance of 1 in 370,000.

What it cannot see: whether a record whose gift has an earlier result ought to have had one of
its own. It is called shared, and downstream, which keeps the first, misses nothing.

Reading order: `model` (the words), `answers` and `claims` (what is kept), `judgement` (the
rules; these four do no I/O), `bounds` (from where to where), `reading` (Kafka), `run` (what is
read when, and why in that order), `screen`.
"""

from consumer.audit.bounds import Bound, parse_bound
from consumer.audit.run import AuditOptions, run_audit

__all__ = ["AuditOptions", "Bound", "parse_bound", "run_audit"]
