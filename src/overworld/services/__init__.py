"""Use cases: one function, one transaction. Web, schedules and wakes all go through here.

Every function takes the transaction and the time, raises the errors of ``domain.errors`` and leaves nothing half done:
whoever opened the transaction rolls it back when one is raised.
"""
