"""Servers as processes of this machine: each with a keeper as its parent, a user and a folder of its own."""
