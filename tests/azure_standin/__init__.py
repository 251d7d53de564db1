"""A stand-in for Azure on one machine: ARM (public IPs, balancers, quotas, shares), Entra's token endpoint, Azure Files.

Not named ``azure``: that folder would become a part of Azure's own namespace package.
"""
