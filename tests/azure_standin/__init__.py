"""A stand-in for Azure on one machine: ARM (public IPs, balancers, quotas, shares), Entra's tokens, Azure Files.

Not named ``azure``: that folder would become a part of Azure's own namespace package.
"""
