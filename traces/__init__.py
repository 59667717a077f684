"""The domain: what happened (traces) and what we say about it (outcomes, scores).

Everything here is a plain value. Nothing here imports another package of ours, does IO or reads a clock.
"""

from traces.choices import Limits, ObservationType
from traces.durations import Duration, Interval, duration_text
from traces.frozen import frozen, thawed
from traces.lengths import Limit, Shortened, in_characters, in_tokens, shortened, tokens
from traces.media import media_in, with_remarks
from traces.model import Observation, Trace, TraceRef, TraceRoot
from traces.outcomes import (
    Failure,
    NotApplicable,
    Outcome,
    Unscored,
    Usage,
    Verdict,
    outcome_from_json,
    outcome_to_json,
)
from traces.packing import Passage
from traces.patterns import BadPattern, Pattern
from traces.per_day import PerDay, Quota
from traces.record import record
from traces.scores import DataType, RecordedScore, Score, ScoreValue, Subject, score_id
from traces.select import BadPath, Located, Path
from traces.sensitive import Look, SensitiveKind, as_it_is, finder, finder_of
from traces.session import Ref, Session, SessionRef
from traces.targets import Material, Observe, Target
from traces.text import TooDeep, as_text, composed, json_text, parsed_json, well_formed
from traces.tools import ToolCall, asked_calls, calls_in, offered_tools, parsed, text_in
from traces.transcript import transcript, transcript_of
from traces.when import Has, Sample, SampleRule, ScoreCondition, Severity, When, at_least, worst

__all__ = [
    "BadPath",
    "BadPattern",
    "DataType",
    "Duration",
    "Failure",
    "Has",
    "Interval",
    "Limit",
    "Limits",
    "Located",
    "Look",
    "Material",
    "NotApplicable",
    "Observation",
    "ObservationType",
    "Observe",
    "Outcome",
    "Passage",
    "Path",
    "Pattern",
    "PerDay",
    "Quota",
    "RecordedScore",
    "Ref",
    "Sample",
    "SampleRule",
    "Score",
    "ScoreCondition",
    "ScoreValue",
    "SensitiveKind",
    "Session",
    "SessionRef",
    "Severity",
    "Shortened",
    "Subject",
    "Target",
    "TooDeep",
    "ToolCall",
    "Trace",
    "TraceRef",
    "TraceRoot",
    "Unscored",
    "Usage",
    "Verdict",
    "When",
    "as_it_is",
    "as_text",
    "asked_calls",
    "at_least",
    "calls_in",
    "composed",
    "duration_text",
    "finder",
    "finder_of",
    "frozen",
    "in_characters",
    "in_tokens",
    "json_text",
    "media_in",
    "offered_tools",
    "outcome_from_json",
    "outcome_to_json",
    "parsed",
    "parsed_json",
    "record",
    "score_id",
    "shortened",
    "text_in",
    "thawed",
    "tokens",
    "transcript",
    "transcript_of",
    "well_formed",
    "with_remarks",
    "worst",
]
