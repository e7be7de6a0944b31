"""What may be wrong with an installation, looked at piece by piece, also when nothing runs."""

from mesh.doctor.examine import examine
from mesh.doctor.finding import Finding, Scene, Verdict

__all__ = ["Finding", "Scene", "Verdict", "examine"]
