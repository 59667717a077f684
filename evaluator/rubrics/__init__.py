"""Is a rubric good, and would another wording be better? Golden tests, attacks, comparisons and tuning.

Begin with `golden`, where the real judge is held against a rubric's own examples. `comparing` has two versions judge
the same traces, `rivals` asks which of two agrees better with people, and `tuning` proposes words. Each has a report
beside it: the same for people and for scripts.
"""
