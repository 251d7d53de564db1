"""Where worlds are saved: the port, restic behind it, what is kept how long, and the secrets."""
