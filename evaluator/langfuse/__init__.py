"""The only user of Langfuse's wire: reading traces, reading and writing scores, and what the server can do."""

from evaluator.langfuse.client import Langfuse
from evaluator.langfuse.reviews import DatasetItem, QueueItem, object_of
from evaluator.langfuse.scanning import Window, is_excluded
from evaluator.langfuse.server import Capabilities
from evaluator.langfuse.sessions import SessionRoots

__all__ = ["Capabilities", "DatasetItem", "Langfuse", "QueueItem", "SessionRoots", "Window", "is_excluded", "object_of"]
