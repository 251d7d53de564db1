"""Version 1 of the API: one module a noun, its wire models beside its routes.

A version 2 would be a second package of routes over the same services, registered under its own prefix.
"""
