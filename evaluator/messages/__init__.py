"""What people and programs are told: messages are made here, and brought to Slack, a webhook or a mail server.

Begin with `alert`, which makes a message of what happened; `blocks`, `figures` and `words` are how it is written.
`delivery` takes messages from the outbox to each of the `destinations`. Nothing is decided here.
"""
