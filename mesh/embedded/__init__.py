"""PostgreSQL and NATS as child processes, from wheels: no container, no root, no account."""

from mesh.embedded.nats import Nats
from mesh.embedded.places import StartError
from mesh.embedded.postgres import Postgres
from mesh.embedded.roles import prepare_database

__all__ = ["Nats", "Postgres", "StartError", "prepare_database"]
