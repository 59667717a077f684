"""Finished traces and idle sessions are found, sampled and handed to the queue: the first half of walk 1.

Begin with `sweep`, one look at a window of time. `idle_sessions` and `late_scores` find what ends, or is scored, later
than its trace; `filter_scores` fetches what filters ask for; `standing` is what Langfuse already holds.
"""
