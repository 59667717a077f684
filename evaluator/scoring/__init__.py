"""A batch of jobs becomes scores: the steps of `pipeline.py`, each with its own states and failures.

`gathering` reads what jobs are about, `first_outcomes` are what rules say and rubrics ask, `calls` asks the judges,
`scores` is what Langfuse receives, `endings` how each pair of trace and evaluator ends. `batched` and `batch_lane` are
for rubrics that are judged through the provider's batch API.
"""
