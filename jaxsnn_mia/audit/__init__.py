"""An audit of models trained elsewhere, in any framework: their outputs in, the same report out.

Public: `Models`, `run`, `how`, `understood`, `partners`, `attackable`, `able`.
"""

from jaxsnn_mia.audit.able import Attackable, able, attackable, partners
from jaxsnn_mia.audit.models import Models, understood
from jaxsnn_mia.audit.run import how, run

__all__ = ["Attackable", "Models", "able", "attackable", "how", "partners", "run", "understood"]
