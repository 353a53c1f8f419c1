"""Experiments from the databases of other trackers, which need not be installed.

Their tables are read by SQL alone, and nothing is unpickled.
"""

from mltraq_prefect.exchange.importing import TOOLS, import_from
from mltraq_prefect.exchange.report import Imported, ImportReport, NotCarried

__all__ = ["ImportReport", "Imported", "NotCarried", "TOOLS", "import_from"]
