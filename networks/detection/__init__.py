"""Detectors: mmdet's model collection without a compiled mmcv, and the models it lacks.

Nothing is imported here: mmdet takes seconds, and has to come after `networks.detection.ops.ensure_ops`.
"""
