"""The fleet as a file: hosts, tenants, networks, releases, templates and jails as TOML.

    document    reading a file: what each key may be, and what is wrong, by table and key
    export      the file for what the panel has now
    plan        what would have to change for the panel and its hosts to be as a file says
    apply       doing that: rows of the panel by its own forms, everything on hosts by ordinary operations

People, their passwords and their roles are in no such file, nor is anything secret.
"""
