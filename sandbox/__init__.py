"""Stand-ins for Langfuse, the model API and Slack that speak the real protocols and misbehave like the real thing."""
