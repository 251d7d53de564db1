"""The worker: durable jobs on worlds, one at a time for each."""
