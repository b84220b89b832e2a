"""How well images, or the frames of videos, are generated: fidelity, realism, variation, spectra, and pictures.

"Generation" is any ``networks.generated.Generated``, by whatever method; ``networks.gan`` says what the neighbouring
words stand for.
"""
