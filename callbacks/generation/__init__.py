"""How well images are generated: fidelity, realism, variation, spectra, and pictures."""
