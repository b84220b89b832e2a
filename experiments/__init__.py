"""The thesis as a checkable document: its tables, the runs that make them and the claims they support."""

import sys

from visionscapes.search_path import append_working_directory

if sys.argv[:1] == ["-m"]:  # python -m puts the working directory first, where it would hide packages of ours
    append_working_directory()
