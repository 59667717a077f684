"""Is the judge right, and is it still the same? Judges held against people's labels, and against their own anchors.

Begin with `agreement`, a judge beside the people who scored the same; `weekly` does it every week and says when they
part. `labels` and `labelling` are about what people said and whom to ask next. `anchors` are frozen items, which
`anchoring` has judged again: what moves there is the judge, not the application.
"""
