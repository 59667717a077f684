"""What the fleet remembers, in Redis. All keys stand in this table; few modules elsewhere know one of their own.

Begin with `fleet`: what was found, what became of it, who leads. `ledger` is money, `hours` and `counters` are what
was counted, `dead_letters` work that was given up. `connection` is the way to Redis, `embedded` a server of our own.

Redis may be wiped: work is repeated, only what the last column names is lost. `N` is the setting EVALUATOR_NAMESPACE.
No key holds trace content, except that a judge's reason, in N:outcomes and N:outbox, may quote some (docs: security).

| key | type | kept for | holds | if it vanishes |
|---|---|---|---|---|
| N:watermark | string | for ever | end of the last window read whole | discovery starts at now; `sweep --since` fills |
| N:claimed:HOUR | set | `keep` | traces, sessions given to the queue, by hour of end | the overlap is evaluated again |
| N:sessions | zset | idle + 7 days | when sessions are idle enough (sessions.py) | judged when they go on |
| N:load | hash | for ever | how far the queue lags, shares of the sampling rates taken | all is sampled again |
| N:settled:HOUR | hash | `keep` | trace id/evaluator -> terminal state | a redelivered message is judged again |
| N:open:HOUR | set | 30 days | pairs that are counted as sampled and have not ended | a backfill counts them again |
| N:outcomes:TRACE | hash | 2 days | outcomes not yet written to Langfuse | a retry pays for them again |
| N:funnel | hash | for ever | evaluator/state/reason -> count | counting starts at 0 |
| N:ran:NAME | string | for ever | when a scheduled job last ran | it runs once more |
| N:hour:*, N:promised:*, N:counters, N:usage | hash | (see hours, counters) | what was counted | it starts at 0 |
| N:workers | hash | a minute | which processes live (pulse.py) | they say so again |
| N:lease:NAME | string | its lease | who leads | another scheduler takes over |
| N:pause:, N:window:, N:first:, N:tokens:PROVIDER | string | the pause, 2 min | the fleet's limits | one more 429 |
| N:monitor:NAME | string | for ever | state of a score's alert (monitor_records.py) | the scores tell |
| N:spent:DAY | hash | 40 days | what judging cost, by rubric (ledger.py) | the day's budget begins anew |
| N:held:DAY, N:held:by:DAY, N:payers:DAY | hash, zset | 2 days | money reserved, by whom, who lives | as above |
| N:volume:DAY, N:rates | hash | 9 days, now | what a line of `sample` matched (volumes.py) | it is learned anew |
| N:parked, N:parked:RUBRIC, :ids:RUBRIC, N:owed | hash, list, set | until paid | see arrears.py | **not caught up** |
| N:outbox | hash | until sent | messages not yet confirmed by Slack | **an unsent message is lost** |
| N:dead, N:dead:at | hash, zset | 30 days, 100,000 | dead letters with their reason | **the letters are lost** |
| N:dead:begun, :counts | hash | as the letter; for ever | replays that began; how many (dead_letters.py) | as above |
| N:prompts | hash | for ever | last known prompts (see prompts) | in an outage their rubrics wait |
| N:tests | hash | for ever | what golden tests last came to (golden_tests.py) | they show as never run |
| N:circuit:* | (see circuits) | | models that take no calls | each is asked once more |
| N:pace:*, N:slowed:* | (see paces) | | models whose servers were overrun | each process learns anew |
| N:judges:RUBRIC | zset | 90 days | who judged (judges_seen.py) | they are seen again |
| N:week:MONDAY | hash | 4 to 10 days | scores of a finished week (kept_weeks.py) | they are read again |
| N:cache:HASH | string | as configured | a verdict, to be used again (cache.py) | the same is paid for again |
| N:backfill:* | (see backfill) | 30 days | where backfills go on | they begin anew |
| N:earlier:DAY* | (see earlier) | `days` | what rules compare with | there is nothing to compare with |
| N:batch:* | (see batch_room) | | questions for the provider's batches | those of the overlap are paid for again |
| N:queue:* | | | Dramatiq's queues | pending work of the overlap is found again, older is not |
"""
