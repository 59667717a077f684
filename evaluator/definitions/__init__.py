"""config/*.yaml as frozen, validated definitions; whoever needs them imports them from here.

`reading` begins with a folder and ends with `Definitions`; `service_config` is evaluator.yaml, `evaluators` what a
rubric or a rule comes to. `yaml_source` and `mistakes` make an error name its file, line and column.
"""

from evaluator.definitions.evaluators import Evaluator
from evaluator.definitions.reading import Definitions, load, rule_kinds, schemas

__all__ = ["Definitions", "Evaluator", "load", "rule_kinds", "schemas"]
