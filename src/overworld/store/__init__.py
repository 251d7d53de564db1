"""PostgreSQL: tables, transactions, queries, lease, migrations. The only package that imports SQLAlchemy.

Every function takes a ``Connection`` inside a transaction and returns domain dataclasses, never rows or ORM objects.
"""
