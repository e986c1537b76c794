"""The whole panel in one file: its database, its workers' keys, and where its log ended.

    archive     the file itself: what is in it is checked before any of it is believed
    tables      rows of the database, the same from SQLite and PostgreSQL and into either
    keyfiles    what only workers have: their SSH keys, and the key they seal steps with
    whole       making such a file, and being as it says again

Not in it: settings (CELLBLOCK_SECRET_KEY among them), sessions, one-time links, which worker was seen when.
"""
