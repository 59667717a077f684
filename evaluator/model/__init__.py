"""The only user of the model API: many questions at once, retries by class of failure, what each answer cost.

`api` decides (how many at once, what is tried again, who waits how long), `server` talks, `completion` reads, `batches`
asks many questions for later.
"""

from evaluator.model.api import INTERRUPTED, POSTPONED, UNFUNDED, Ended, ModelApi
from evaluator.model.batches import BatchApi

__all__ = ["INTERRUPTED", "POSTPONED", "UNFUNDED", "BatchApi", "Ended", "ModelApi"]
