"""Video and sound in and out, by PyAV: any container, on one clock, in constant memory."""

SAMPLE_RATE = 16_000  # samples of sound a second, as networks hear it
FRAME_RATE = 25  # frames of video a second, as networks see it
