"""The service around the domain: what opens, wires, schedules and delivers."""
