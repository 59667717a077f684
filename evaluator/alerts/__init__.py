"""Did a score fall, by more than chance? The parts of `watch.py`: reading weeks, looking at them, telling of them once.

Begin with `weekly_look`, one look at one score. `judged` and `kept_weeks` read the scores it looks at, `budget` holds
the false alerts of all scores within what was asked for, `telling` makes the message.
"""
