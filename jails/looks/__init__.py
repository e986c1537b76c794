"""Looks: reading something of one jail on demand, from its host or from inside it, by the worker that serves the host.

`kind` says what a kind of look is, `looking` asks for looks and takes them. docs/architecture.md tells how to add one.
"""
