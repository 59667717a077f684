"""What judging may cost a day: for all judges together, and for each rubric that has a budget of its own.

Begin with `opening`, which names all parts. `purse` reserves before a call and settles after it; `rations` lowers the
sampling rates so that a budget lasts; `owing` and `catching_up` are for rubrics that judge later what they had no money
for. The amounts themselves are in `state.ledger`.
"""
