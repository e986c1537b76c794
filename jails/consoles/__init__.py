"""Consoles in jails: tickets, who may, what is recorded, and consoled, the one process that has them (server.py)."""
