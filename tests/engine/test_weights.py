"""What can only be seen on weights that cannot be shipped; skipped where they are not on the machine."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from stylekit import images
from stylekit.base import Base
from stylekit.sampling import add_noise, predicted_sample

pytestmark = pytest.mark.slow


def test_stable_diffusion_gives_the_photo_back_at_low_noise(sd15_weights: str, photo: Image.Image) -> None:
    """Its autoencoder keeps a photo, and one step from low noise, under the empty prompt, leads back to it."""
    base = Base.open(sd15_weights, device="cpu")
    pixels = images.place_on_grid(images.to_tensor(photo), base.grid)
    with torch.inference_mode():
        latents = base.encode(pixels)
        kept = images.to_picture(images.take_from_grid(base.decode(latents), photo.size))
        alpha = base.alphas_cumprod[20]
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
        noisy = add_noise(latents, noise, alpha)
        clean = predicted_sample(base.denoise(noisy, 20, base.prompt_embeds()), noisy, alpha, base.prediction_type)
    assert np.abs(np.asarray(kept, float) - np.asarray(photo, float)).mean() < 12
    assert float((clean - latents).square().mean()) < 0.7 * float((noisy / alpha.sqrt() - latents).square().mean())  # noise is taken off
