"""Database triggers that make the audit table append-only, on SQLite and PostgreSQL.

They stop mistakes and a stolen web role; a database owner can drop them, which is why the chain is verified too.
"""

from typing import Any

TABLE = "jails_auditentry"
REFUSAL = "audit entries are append-only"

MAKE = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
        f"CREATE TRIGGER audit_no_delete BEFORE DELETE ON {TABLE} BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
        # INSERT OR REPLACE deletes what it replaces without a word to the trigger above.
        f"CREATE TRIGGER audit_no_replace BEFORE INSERT ON {TABLE} "  # noqa: S608 # nosec B608
        f"WHEN NEW.sequence IN (SELECT sequence FROM {TABLE}) "
        f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END",
    ],
    "postgresql": [
        "CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE TRIGGER audit_no_update BEFORE UPDATE OR DELETE ON {TABLE} "
        "FOR EACH ROW EXECUTE FUNCTION audit_refuse()",
        f"CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON {TABLE} "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()",
    ],
}
DROP = {
    "sqlite": [
        "DROP TRIGGER IF EXISTS audit_no_update",
        "DROP TRIGGER IF EXISTS audit_no_delete",
        "DROP TRIGGER IF EXISTS audit_no_replace",
    ],
    "postgresql": [
        f"DROP TRIGGER IF EXISTS audit_no_update ON {TABLE}",
        f"DROP TRIGGER IF EXISTS audit_no_truncate ON {TABLE}",
        "DROP FUNCTION IF EXISTS audit_refuse()",
    ],
}


def make_triggers(connection: Any) -> None:
    _execute(connection, MAKE)


def drop_triggers(connection: Any) -> None:
    _execute(connection, DROP)


def _execute(connection: Any, statements: dict[str, list[str]]) -> None:
    if connection.vendor not in statements:
        raise NotImplementedError(f"the audit log cannot be made append-only on {connection.vendor}")
    with connection.cursor() as cursor:
        for statement in statements[connection.vendor]:
            cursor.execute(statement)
