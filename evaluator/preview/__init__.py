"""What would happen: the definitions on past traffic. Everything is read, and nothing is written.

`trying` is about one trace, `planning` about all of some days, `forecast` and `estimate` about what they would cost,
`backtest` about the alerts of past weeks. `looking` is what they share: what evaluators say of traces read whole.
"""
