"""Which traces an evaluator sees, and the job that comes of it. No IO: the same trace always gets the same answer.

Begin with `sampler`, a keyed hash held against a rate; `jobs` is what was taken, as the message for the workers, and
`targets` what of a job gets a score. `overload` lowers the rates when more comes than can be evaluated.
"""
