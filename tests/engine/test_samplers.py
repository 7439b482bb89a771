"""Samplers against diffusers' own image-to-image pipeline, and against closed forms where parts of the picture start later."""

from __future__ import annotations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    LatentConsistencyModelImg2ImgPipeline,
    LCMScheduler,
    StableDiffusionImg2ImgPipeline,
    TCDScheduler,
    UniPCMultistepScheduler,
)

from stylekit.base import DISTILLED_GUIDANCE, Base
from stylekit.base_card import DDIM, DPM, LCM, SAMPLERS, TCD, UNIPC
from stylekit.inference.samplers import Solver
from stylekit.sampling import add_noise, sample

SCHEDULERS = {
    DDIM: DDIMScheduler,
    DPM: DPMSolverMultistepScheduler,
    UNIPC: UniPCMultistepScheduler,
    LCM: LCMScheduler,
    TCD: TCDScheduler,
}
CONFIG = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "num_train_timesteps": 1000,
}


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def embeds_of(base: Base) -> torch.Tensor:
    return torch.randn(1, 77, base.unet.config.cross_attention_dim, generator=generator())


def solver_for(sampler: str, timesteps: list[int], noise: torch.Generator | None = None) -> Solver | None:
    return None if sampler == DDIM else Solver(sampler, CONFIG, timesteps, noise)


@pytest.mark.parametrize("steps", [4, 7])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_equals_diffusers_image_to_image(sd_base: Base, sampler: str, steps: int) -> None:
    """With the same noise, at the timesteps that diffusers takes, whose last step returns the clean latents too."""
    extra = {"set_alpha_to_one": True, "clip_sample": False} if sampler == DDIM else {}
    scheduler = SCHEDULERS[sampler](**CONFIG, **extra)
    pipeline = StableDiffusionImg2ImgPipeline(sd_base.vae, None, None, sd_base.unet, scheduler, None, None, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    latents, embeds, asked = torch.randn(1, 4, 8, 8, generator=generator()), embeds_of(sd_base), []

    def remember(_: object, __: int, timestep: torch.Tensor, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        asked.append(int(timestep))
        return values

    expected = pipeline(
        image=latents,
        prompt_embeds=embeds,
        strength=0.6,
        num_inference_steps=steps,
        guidance_scale=1.0,
        eta=0.3 if sampler == TCD else 0.0,  # TCD's own default, which the pipeline's 0 would replace
        generator=generator(),
        output_type="latent",
        callback_on_step_end=remember,
    ).images
    seeded = generator()
    noise = torch.randn(latents.shape, generator=seeded)
    with torch.inference_mode():
        ours = list(
            sample(
                lambda noisy, timestep: sd_base.denoise(noisy, timestep, embeds),
                latents,
                noise,
                asked,
                sd_base.alphas_cumprod,
                "epsilon",
                solver=solver_for(sampler, asked, seeded),
            )
        )
    assert len(ours) == len(asked) >= 2
    assert torch.allclose(ours[-1].predicted, expected, atol=2e-4 * float(expected.abs().max()))
    assert torch.equal(ours[-1].predicted, ours[-1].latents)


def oracle(latents: torch.Tensor, timestep: int) -> torch.Tensor:
    """Not linear, so that the order of a solver shows."""
    return torch.sin(3 * latents) + timestep / 1000


@pytest.mark.parametrize("sampler", [DPM, UNIPC, LCM, TCD])
def test_maps_start_parts_of_the_picture_later(sampler: str) -> None:
    """A part that starts at a timestep is what it would be if all began there, one that never starts is the photo's."""
    latents, noise = torch.randn(2, 1, 4, 6, 6, generator=generator()).unbind(0)
    alphas = DDIMScheduler(**CONFIG).alphas_cumprod
    timesteps = [600, 450, 300, 150]
    starts = torch.full((1, 1, 6, 6), 300.0)
    starts[..., :2], starts[..., 4:] = 600, 0
    late = list(
        sample(oracle, latents, noise, timesteps, alphas, "epsilon", starts, solver=Solver(sampler, CONFIG, timesteps, generator()))
    )
    whole = list(sample(oracle, latents, noise, timesteps, alphas, "epsilon", solver=Solver(sampler, CONFIG, timesteps, generator())))
    assert torch.allclose(late[-1].predicted[..., :2], whole[-1].predicted[..., :2], atol=1e-5)
    assert torch.equal(late[-1].predicted[..., 4:], latents[..., 4:])
    assert torch.equal(late[1].predicted[..., 2:4], latents[..., 2:4])
    if sampler == DPM:  # lcm and tcd have drawn other noise by then; UniPC corrects by a step of the first order, which differs from none
        alone = list(sample(oracle, latents, noise, timesteps[2:], alphas, "epsilon", solver=Solver(sampler, CONFIG, timesteps[2:])))
        assert torch.allclose(late[-1].predicted[..., 2:4], alone[-1].predicted[..., 2:4], atol=1e-5)


@pytest.mark.parametrize("sampler", [DPM, UNIPC])
def test_a_map_that_starts_everything_at_once_is_no_map(sampler: str) -> None:
    latents, noise = torch.randn(2, 1, 4, 6, 6, generator=generator()).unbind(0)
    alphas = DDIMScheduler(**CONFIG).alphas_cumprod
    timesteps = [600, 450, 300, 150]
    starts = torch.full((1, 1, 6, 6), 600.0)
    mapped = list(sample(oracle, latents, noise, timesteps, alphas, "epsilon", starts, solver=Solver(sampler, CONFIG, timesteps)))
    plain = list(sample(oracle, latents, noise, timesteps, alphas, "epsilon", solver=Solver(sampler, CONFIG, timesteps)))
    assert torch.allclose(mapped[-1].predicted, plain[-1].predicted, atol=1e-5)


def test_settings_of_the_bases_own_scheduler_do_not_clip_latents() -> None:
    """DDIM's default clips what it predicts to [-1, 1], which is for pixels."""
    solver = Solver(LCM, DDIMScheduler(**CONFIG, clip_sample=True).config, [199], generator())
    latents = torch.full((1, 4, 2, 2), 8.0)
    assert float(solver.step(torch.zeros_like(latents), 199, latents).max()) > 8


def test_a_distilled_base_is_told_its_guidance_as_diffusers_tells_it(sd_base: Base) -> None:
    """LCM's own bases take the guidance as a part of the timestep."""
    from diffusers import UNet2DConditionModel

    from benchmarks.sd15_models import REDUCED

    torch.manual_seed(0)
    unet = UNet2DConditionModel(sample_size=64, block_out_channels=REDUCED.unet, cross_attention_dim=REDUCED.text, time_cond_proj_dim=32)
    sd_base.unet = unet.eval().requires_grad_(False)
    pipeline = LatentConsistencyModelImg2ImgPipeline(
        sd_base.vae, None, None, sd_base.unet, LCMScheduler(**CONFIG), None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    latents, embeds = torch.randn(1, 4, 8, 8, generator=generator()), embeds_of(sd_base)
    expected = pipeline(
        image=latents,
        prompt_embeds=embeds,
        strength=0.6,
        num_inference_steps=4,
        guidance_scale=DISTILLED_GUIDANCE,
        generator=generator(),
        output_type="latent",
    ).images
    timesteps, seeded = pipeline.scheduler.timesteps.tolist(), generator()
    noise = torch.randn(latents.shape, generator=seeded)
    assert add_noise(latents, noise, sd_base.alphas_cumprod[timesteps[0]]).isfinite().all()
    with torch.inference_mode():
        *_, last = sample(
            lambda noisy, timestep: sd_base.denoise(noisy, timestep, embeds),
            latents,
            noise,
            timesteps,
            sd_base.alphas_cumprod,
            "epsilon",
            solver=Solver(LCM, CONFIG, timesteps, seeded),
        )
    assert torch.allclose(last.predicted, expected, atol=2e-4 * float(expected.abs().max()))
