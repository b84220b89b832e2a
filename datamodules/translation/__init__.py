"""Data of image-to-image translation (chapter 5): pairs of a condition, such as a label map, and an image.

"Translation" is the task, also that of its batches; ``networks.gan`` says what the neighbouring words stand for.
"""
