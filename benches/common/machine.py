"""On what something was measured."""

import os
import platform
import re
from datetime import date
from pathlib import Path


def measured_here():
    """The day and the machine, for the line above a table."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return f"{date.today()}, {model[1] if model else platform.processor()}, {os.cpu_count()} cores"
