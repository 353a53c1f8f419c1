"""``python -m mltraq_prefect`` is the command line."""

import sys

from mltraq_prefect.cli import main

sys.exit(main())
