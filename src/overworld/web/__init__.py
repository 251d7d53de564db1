"""The HTTP API: every route of version 1, its description, its problems, and the server that runs it."""
