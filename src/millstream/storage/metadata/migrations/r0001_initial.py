"""The architecture's five tables, the lease of each job, and the history of executions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables; written out, so that this revision stays what it was."""
    _job_definition()
    _job_execution()
    _checkpoint()
    _job_config()
    _job_schedule()
    _lease()
    _status_history()


def _utc_now() -> sa.TextClause:
    if op.get_context().dialect.name == "sqlite":
        return sa.text("(strftime('%Y-%m-%d %H:%M:%f', 'now'))")
    return sa.text("(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')")


def _job_definition() -> None:
    op.create_table(
        "pipeline_job_definition",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("job_name", sa.String(200), nullable=False, unique=True),
        sa.Column(
            "job_type", sa.String(50), nullable=False, comment="STREAMING/BATCH_ROLLER/SQL_TASK"
        ),
        sa.Column("version", sa.Integer, nullable=False, server_default="1"),
        sa.Column("dag_definition", sa.Text, nullable=False, comment="JSON"),
        sa.Column("description", sa.Text),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("parallelism", sa.Integer, server_default="1"),
        sa.Column("max_retry_times", sa.Integer, server_default="3"),
        sa.Column(
            "create_time", sa.TIMESTAMP, nullable=False, server_default=_utc_now(), comment="UTC"
        ),
        sa.Column(
            "update_time", sa.TIMESTAMP, nullable=False, server_default=_utc_now(), comment="UTC"
        ),
        sa.Column("fingerprint", sa.String(64), comment="+ of the graph's structure"),
        sa.Column("state_fingerprint", sa.String(64), comment="+ of what a snapshot holds"),
        sa.Column("code_fingerprint", sa.String(64), comment="+ of functions and options"),
        sqlite_autoincrement=True,
    )
    op.create_index("idx_job_name", "pipeline_job_definition", ["job_name"])
    op.create_index("idx_job_type", "pipeline_job_definition", ["job_type"])


def _job_execution() -> None:
    op.create_table(
        "pipeline_job_execution",
        sa.Column("id", ROW_ID, primary_key=True),
        sa.Column("execution_id", sa.String(100), nullable=False, unique=True),
        _job_id(),
        sa.Column("job_name", sa.String(200), nullable=False),
        sa.Column(
            "status", sa.String(50), nullable=False, comment="CREATED/RUNNING/COMPLETED/FAILED …"
        ),
        sa.Column("start_time", sa.TIMESTAMP, nullable=False, comment="UTC"),
        sa.Column("end_time", sa.TIMESTAMP, comment="UTC"),
        sa.Column("processed_records", sa.BigInteger, server_default="0"),
        sa.Column(
            "failed_records", sa.BigInteger, server_default="0", comment="skipped + dead-lettered"
        ),
        sa.Column("throughput", sa.Numeric(10, 2), comment="records per second"),
        sa.Column("error_message", sa.Text),
        sa.Column("retry_count", sa.Integer, server_default="0"),
        sqlite_autoincrement=True,
    )
    op.create_index("idx_execution_id", "pipeline_job_execution", ["execution_id"])
    op.create_index(
        "idx_job_id_start_time", "pipeline_job_execution", ["job_id", sa.text("start_time DESC")]
    )


def _checkpoint() -> None:
    op.create_table(
        "pipeline_checkpoint",
        sa.Column("id", ROW_ID, primary_key=True),
        _execution_id(),
        sa.Column("checkpoint_id", sa.BigInteger, nullable=False),
        sa.Column(
            "checkpoint_type",
            sa.String(50),
            nullable=False,
            comment="STREAMING/BATCH_ROLLER/SQL_TASK",
        ),
        sa.Column("status", sa.String(50), nullable=False, comment="IN_PROGRESS/SUCCESS/FAILED"),
        sa.Column(
            "state_data",
            sa.JSON().with_variant(JSONB(), "postgresql"),
            nullable=False,
            comment="positions and sizes",
        ),
        sa.Column("storage_path", sa.String(500), comment="where the snapshot is"),
        sa.Column("storage_size_bytes", sa.BigInteger),
        sa.Column(
            "create_time", sa.TIMESTAMP, nullable=False, server_default=_utc_now(), comment="UTC"
        ),
        sa.Column("complete_time", sa.TIMESTAMP, comment="UTC"),
        sa.Column(
            "is_savepoint", sa.Boolean, nullable=False, server_default=sa.false(), comment="+"
        ),
        sa.Column(
            "epoch", sa.BigInteger, nullable=False, server_default="0", comment="+ of the lease"
        ),
        sa.Column("duration_ms", sa.BigInteger, comment="+ from the trigger to durable"),
        sa.Column("error_message", sa.Text, comment="+ why it failed"),
        sa.UniqueConstraint("execution_id", "checkpoint_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "idx_execution_checkpoint",
        "pipeline_checkpoint",
        ["execution_id", sa.text("checkpoint_id DESC")],
    )


def _job_config() -> None:
    op.create_table(
        "pipeline_job_config",
        sa.Column("id", ROW_ID, primary_key=True),
        _job_id(),
        sa.Column("config_key", sa.String(200), nullable=False),
        sa.Column("config_value", sa.Text, nullable=False),
        sa.Column("config_type", sa.String(50), nullable=False, comment="STRING/INT/BOOLEAN/JSON"),
        sa.Column(
            "is_sensitive",
            sa.Boolean,
            server_default=sa.false(),
            comment="a password or the like",
        ),
        sa.UniqueConstraint("job_id", "config_key"),
        sqlite_autoincrement=True,
    )


def _job_schedule() -> None:
    op.create_table(
        "pipeline_job_schedule",
        sa.Column("id", ROW_ID, primary_key=True),
        _job_id(unique=True),
        sa.Column("schedule_type", sa.String(50), nullable=False, comment="CRON/MANUAL/EVENT"),
        sa.Column("cron_expression", sa.String(100)),
        sa.Column("enabled", sa.Boolean, nullable=False, server_default=sa.true()),
        sa.Column("next_trigger_time", sa.TIMESTAMP, comment="UTC"),
        sqlite_autoincrement=True,
    )


def _lease() -> None:
    op.create_table(
        "pipeline_lease",
        sa.Column(
            "job_id",
            sa.BigInteger,
            sa.ForeignKey("pipeline_job_definition.id"),
            primary_key=True,
            autoincrement=False,
        ),
        sa.Column("owner", sa.String(200), comment="nobody if NULL"),
        sa.Column("epoch", sa.BigInteger, nullable=False, server_default="0", comment="only grows"),
        sa.Column("expires_at", sa.TIMESTAMP, comment="UTC, by the database's clock"),
        sa.Column("last_checkpoint_id", sa.BigInteger, nullable=False, server_default="0"),
    )


def _status_history() -> None:
    op.create_table(
        "pipeline_status_history",
        sa.Column("id", ROW_ID, primary_key=True),
        _execution_id(),
        sa.Column("from_status", sa.String(50), comment="NULL: it was created"),
        sa.Column("to_status", sa.String(50), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column(
            "change_time", sa.TIMESTAMP, nullable=False, server_default=_utc_now(), comment="UTC"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "idx_status_history_execution", "pipeline_status_history", ["execution_id", "id"]
    )


def _job_id(*, unique: bool | None = None) -> sa.Column[int]:
    reference = sa.ForeignKey("pipeline_job_definition.id")
    return sa.Column("job_id", sa.BigInteger, reference, nullable=False, unique=unique)


def _execution_id() -> sa.Column[str]:
    reference = sa.ForeignKey("pipeline_job_execution.execution_id")
    return sa.Column("execution_id", sa.String(100), reference, nullable=False)
