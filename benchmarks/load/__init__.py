"""How the service grows: a million traces, a day of traffic, a night without any, the smallest plan, giants."""
