"""Pure rules: no Flask, SQLAlchemy, HTTP, clock or random. Frozen dataclasses and functions of (…, now)."""
