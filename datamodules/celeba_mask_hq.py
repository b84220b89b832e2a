"""``python -m datamodules.celeba_mask_hq``: merge the masks of CelebAMask-HQ into label maps.

The work is done in ``datamodules.translation.celeba_mask_hq``.
"""

import sys

from datamodules.translation.celeba_mask_hq import main

if __name__ == "__main__":
    sys.exit(main())
