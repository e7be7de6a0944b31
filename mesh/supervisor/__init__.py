"""All processes of an installation on one machine: started in order, kept up, ended in order."""

from mesh.supervisor.children import Child, Program, standard_children
from mesh.supervisor.home import HomeLock, is_running, read_state
from mesh.supervisor.run import Event, Supervisor

__all__ = [
    "Child",
    "Event",
    "HomeLock",
    "Program",
    "Supervisor",
    "is_running",
    "read_state",
    "standard_children",
]
