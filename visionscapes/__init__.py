"""The ground everybody stands on: errors, seeds, processes, files, checks. It knows nobody above it.

``visionscapes.load`` is the way in for Python users: it gives what was trained, ready to be called with pictures.
"""

from visionscapes.exports import lazy_exports

EXPORTS = {"Model": "visionscapes.model", "UserError": "visionscapes.errors", "load": "visionscapes.loading"}
__getattr__, __dir__, __all__ = lazy_exports(__name__, EXPORTS)
