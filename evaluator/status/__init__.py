"""How the service is doing: for people in a terminal and a browser, for Prometheus, and for whoever restarts processes.

Begin with `overview`, one look at everything, and `verdict`, what of it is wrong in words. `server` answers over HTTP:
the `page`, `health` and `metrics`. `story` tells what became of one trace.
"""
