"""Addresses and shares on Azure. Importing this package imports none of Azure's libraries; its modules do."""
