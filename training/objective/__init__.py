"""What is minimised: denoising, perceptual and style losses."""
