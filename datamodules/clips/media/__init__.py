"""Video and sound in and out, by PyAV: any container, on one clock, in constant memory."""
