"""The page about the metadata store tells of the architecture's tables as they stand."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.storage.metadata.schema_contract import page_columns, page_rows

DDL = Path(__file__).with_name("architecture.sql").read_text("utf-8")


def ddl_columns() -> dict[str, dict[str, str]]:
    """Return by table and column what the architecture's DDL says."""
    tables = {}
    for table, body in re.findall(r"CREATE TABLE (\w+) \((.*?)\n\);", DDL, re.DOTALL):
        lines = [line.strip().rstrip(",").split(None, 1) for line in body.strip().splitlines()]
        tables[table] = {name: rest for name, rest in lines if name != "UNIQUE"}
    return tables


def test_the_page_has_every_column_and_index_of_the_architecture_word_for_word() -> None:
    of_architecture = {
        table: {name: said for name, said in columns.items() if said != "+"}
        for table, columns in page_columns(1).items()
    }
    assert {table: said for table, said in of_architecture.items() if said} == ddl_columns()
    indexes = re.findall(r"CREATE INDEX (\w+) ON (\w+)\((.*)\);", DDL)
    rows = [tuple(row[:3]) for row in page_rows("## Indexes") if row[3] == "yes"]
    assert rows == indexes
