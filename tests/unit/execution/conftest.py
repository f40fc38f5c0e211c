"""Jobs that workers can import, and a record of finished work on disk."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # workers import `tiny_jobs` by name
