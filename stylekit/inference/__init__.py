"""How a base runs: samplers, accelerators of few steps, the autoencoder's precision, tiles and previews."""
