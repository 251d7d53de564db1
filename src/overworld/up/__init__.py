"""``overworld up``: the whole product on one machine, as two processes and an embedded PostgreSQL."""
