"""The services that acceptance tests may ask for."""

from tests.support.postgres import own_postgres_server, postgres_server, postgres_url

__all__ = ["own_postgres_server", "postgres_server", "postgres_url"]
