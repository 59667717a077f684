"""The only user of the model API: many questions at once, retries by class of failure, what each answer cost.

`api` decides (how many at once, what is tried again, who waits how long), `server` talks, `completion` reads,
`endpoint` says where servers are, `journal` notes what was sent for a question, `batches` asks many questions for
later.
"""

from evaluator.model.api import INTERRUPTED, POSTPONED, Ended, ModelApi
from evaluator.model.batches import BatchApi
from evaluator.model.breaker import Breaker
from evaluator.model.endpoint import Endpoint, Served
from evaluator.model.journal import UNREADABLE, Journal, Sent, attempt_of, titled
from evaluator.model.panel import CLOSED, UNFUNDED

__all__ = [
    "CLOSED",
    "INTERRUPTED",
    "POSTPONED",
    "UNFUNDED",
    "UNREADABLE",
    "BatchApi",
    "Breaker",
    "Ended",
    "Endpoint",
    "Journal",
    "ModelApi",
    "Sent",
    "Served",
    "attempt_of",
    "titled",
]
