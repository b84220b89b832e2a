"""Protocols, pages and files of source discovery: which generators a pile of images comes from (chapter 4).

Not to be mixed up with object discovery, which finds the objects in an image: ``callbacks.dense.object_discovery``.
"""
