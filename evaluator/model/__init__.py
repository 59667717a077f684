"""The only user of the model API: many questions at once, retries by class of failure, what each answer cost.

`api` decides (how many at once, what is tried again, what a stop ends), `server` talks, `completion` reads.
"""

from evaluator.model.api import INTERRUPTED, Finished, ModelApi

__all__ = ["INTERRUPTED", "Finished", "ModelApi"]
