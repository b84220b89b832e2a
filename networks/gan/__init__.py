"""Building blocks of generators and discriminators that are trained against each other, for any method that has them.

"gan" stands for these blocks. What a generator hands over is in ``networks.generated``; "generation" (in callbacks)
evaluates it, whatever it was made by; "translation" (in datamodules, and the task of the batches) is the task of making
an image out of another or out of a label map; GRIT is one method for that task.
"""
