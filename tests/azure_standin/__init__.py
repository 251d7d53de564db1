"""A stand-in for Azure on loopback: ARM (public IPs, quotas, shares), Entra's token endpoint and Azure Files.

Not named ``azure``: that folder would become a part of Azure's own namespace package.
"""
