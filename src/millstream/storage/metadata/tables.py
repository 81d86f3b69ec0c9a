"""The tables: the architecture's five (§6.1), a lease per job and the history of executions.

What goes beyond the architecture is marked with ``+``; docs/reference/metadata.md has it all with
the type on each database. A change here needs a revision in ``migrations/``.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    true,
)

from millstream.storage.metadata.column_types import ROW_ID, Document, UtcTimestamp, utc_now

METADATA = MetaData()

JOB = Table(
    "pipeline_job_definition",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("job_name", String(200), nullable=False, unique=True),
    Column("job_type", String(50), nullable=False, comment="STREAMING/BATCH_ROLLER/SQL_TASK"),
    Column("version", Integer, nullable=False, server_default="1"),
    Column("dag_definition", Text, nullable=False, comment="JSON"),
    Column("description", Text),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("parallelism", Integer, server_default="1"),
    Column("max_retry_times", Integer, server_default="3"),
    Column("create_time", UtcTimestamp, nullable=False, server_default=utc_now(), comment="UTC"),
    Column("update_time", UtcTimestamp, nullable=False, server_default=utc_now(), comment="UTC"),
    Column("fingerprint", String(64), comment="+ of the graph's structure"),
    Column("state_fingerprint", String(64), comment="+ of what a snapshot holds"),
    Column("code_fingerprint", String(64), comment="+ of functions and options"),
    Index("idx_job_name", "job_name"),
    Index("idx_job_type", "job_type"),
    sqlite_autoincrement=True,
)

EXECUTION = Table(
    "pipeline_job_execution",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("execution_id", String(100), nullable=False, unique=True),
    Column("job_id", BigInteger, ForeignKey(JOB.c.id), nullable=False),
    Column("job_name", String(200), nullable=False),
    Column("status", String(50), nullable=False, comment="CREATED/RUNNING/COMPLETED/FAILED …"),
    Column("start_time", UtcTimestamp, nullable=False, comment="UTC"),
    Column("end_time", UtcTimestamp, comment="UTC"),
    Column("processed_records", BigInteger, server_default="0"),
    Column("failed_records", BigInteger, server_default="0", comment="skipped + dead-lettered"),
    Column("throughput", Numeric(10, 2, asdecimal=False), comment="records per second"),
    Column("error_message", Text),
    Column("retry_count", Integer, server_default="0"),
    Index("idx_execution_id", "execution_id"),
    sqlite_autoincrement=True,
)
Index("idx_job_id_start_time", EXECUTION.c.job_id, EXECUTION.c.start_time.desc())

CHECKPOINT = Table(
    "pipeline_checkpoint",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("execution_id", String(100), ForeignKey(EXECUTION.c.execution_id), nullable=False),
    Column("checkpoint_id", BigInteger, nullable=False),
    Column(
        "checkpoint_type", String(50), nullable=False, comment="STREAMING/BATCH_ROLLER/SQL_TASK"
    ),
    Column("status", String(50), nullable=False, comment="IN_PROGRESS/SUCCESS/FAILED"),
    Column("state_data", Document, nullable=False, comment="positions and sizes"),
    Column("storage_path", String(500), comment="where the snapshot is"),
    Column("storage_size_bytes", BigInteger),
    Column("create_time", UtcTimestamp, nullable=False, server_default=utc_now(), comment="UTC"),
    Column("complete_time", UtcTimestamp, comment="UTC"),
    Column("is_savepoint", Boolean, nullable=False, server_default=false(), comment="+"),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="+ of the lease"),
    Column("duration_ms", BigInteger, comment="+ from the trigger to durable"),
    Column("error_message", Text, comment="+ why it failed"),
    UniqueConstraint("execution_id", "checkpoint_id"),
    sqlite_autoincrement=True,
)
Index("idx_execution_checkpoint", CHECKPOINT.c.execution_id, CHECKPOINT.c.checkpoint_id.desc())

CONFIG = Table(
    "pipeline_job_config",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("job_id", BigInteger, ForeignKey(JOB.c.id), nullable=False),
    Column("config_key", String(200), nullable=False),
    Column("config_value", Text, nullable=False),
    Column("config_type", String(50), nullable=False, comment="STRING/INT/BOOLEAN/JSON"),
    Column("is_sensitive", Boolean, server_default=false(), comment="a password or the like"),
    UniqueConstraint("job_id", "config_key"),
    sqlite_autoincrement=True,
)

SCHEDULE = Table(
    "pipeline_job_schedule",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("job_id", BigInteger, ForeignKey(JOB.c.id), nullable=False, unique=True),
    Column("schedule_type", String(50), nullable=False, comment="CRON/MANUAL/EVENT"),
    Column("cron_expression", String(100)),
    Column("enabled", Boolean, nullable=False, server_default=true()),
    Column("next_trigger_time", UtcTimestamp, comment="UTC"),
    sqlite_autoincrement=True,
)

# + Beside the architecture's tables. A job's lease is made with the job and stays: an epoch that
# was given out must never come again.
LEASE = Table(
    "pipeline_lease",
    METADATA,
    Column("job_id", BigInteger, ForeignKey(JOB.c.id), primary_key=True, autoincrement=False),
    Column("owner", String(200), comment="nobody if NULL"),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="only grows"),
    Column("expires_at", UtcTimestamp, comment="UTC, by the database's clock"),
    Column("last_checkpoint_id", BigInteger, nullable=False, server_default="0"),
)

STATUS_CHANGE = Table(
    "pipeline_status_history",
    METADATA,
    Column("id", ROW_ID, primary_key=True),
    Column("execution_id", String(100), ForeignKey(EXECUTION.c.execution_id), nullable=False),
    Column("from_status", String(50), comment="NULL: it was created"),
    Column("to_status", String(50), nullable=False),
    Column("reason", Text, nullable=False),
    Column("change_time", UtcTimestamp, nullable=False, server_default=utc_now(), comment="UTC"),
    Index("idx_status_history_execution", "execution_id", "id"),
    sqlite_autoincrement=True,
)
