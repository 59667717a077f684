"""Pages of HTML to mail or print: the report of some weeks, and a calibration. They ask nobody for anything.

Begin with `report`, which gathers what a page says, and `report_page`, which writes it; `drawing` makes the charts.
"""
