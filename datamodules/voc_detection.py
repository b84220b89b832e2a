"""``python -m datamodules.voc_detection``: write annotations of PASCAL VOC in COCO's format.

The work is done in ``datamodules.detection.voc``.
"""

import sys

from datamodules.detection.voc import main

if __name__ == "__main__":
    sys.exit(main())
