"""``python -m datamodules.sparse_annotations``: make a sparsely annotated copy of a COCO file.

The work is done in ``datamodules.detection.sparse.command``.
"""

import signal
import sys

from datamodules.detection.sparse.command import main

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that unfinished files are taken away
    sys.exit(main())
