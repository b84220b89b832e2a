"""Chapter 2: how ViTs attend, what their features hold and what they are good for, by method of supervision."""
