"""``python -m datamodules.detection_scenes``: write procedural scenes as COCO files.

The work is done in ``datamodules.detection.scenes``.
"""

import sys

from datamodules.detection.scenes import main

if __name__ == "__main__":
    sys.exit(main())
