"""Settings of the losses and of what a step draws; torch is not needed for them."""

from __future__ import annotations

from dataclasses import dataclass

from stylekit.base_card import POCKET
from stylekit.errors import SettingError
from training.loop.config import FROM_ONE, FROM_ZERO, SHARE, setting
from training.loop.settings import RunSettings

BACKBONES = ("auto", "vgg16", "hed", "random")
DISTANCES = ("auto", "lpips", "features")


@dataclass(frozen=True, kw_only=True)
class LossSettings(RunSettings):
    """Settings of steps from noise on one picture's latents to another's: on which base, what is drawn, and the weights of the losses."""

    base: str = setting(POCKET, "pocket, a folder or a Hub id")
    resolution: int = setting(512, "side of a training crop in pixels", allowed=FROM_ONE)
    t_min: int = setting(0, "lowest timestep trained")
    t_max: int = setting(999, "highest timestep trained")
    l2: float = setting(1.0, "weight of the latent L2; for style pictures of the denoising error", allowed=FROM_ZERO)
    perceptual: float = setting(0.0, "weight of the perceptual distance to the target", allowed=FROM_ZERO)
    contrast: float = setting(0.0, "weight of the local contrast", allowed=FROM_ZERO)
    polish_from: int = setting(0, "step after which the losses on decoded pictures begin", length=True, allowed=FROM_ZERO)
    polish_batch: int = setting(2, "samples a step with those losses", allowed=FROM_ONE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.t_min <= self.t_max < 1000:
            raise SettingError(f"t_min {self.t_min} and t_max {self.t_max} must satisfy 0 <= t_min <= t_max < 1000.")

    @property
    def picture_weights(self) -> dict[str, float]:
        """Loss on decoded pictures -> its weight, 0 for none."""
        return {"perceptual": self.perceptual, "contrast": self.contrast}

    @property
    def weights(self) -> dict[str, float]:
        """Term -> weight, of those that have one; L2 is always looked at."""
        return {"l2": self.l2} | {name: weight for name, weight in self.picture_weights.items() if weight}

    def polishes_at(self, step: int) -> bool:
        """Whether there are losses on decoded pictures at `step`."""
        return len(self.weights) > 1 and step > self.polish_from


@dataclass(frozen=True, kw_only=True)
class ObjectiveSettings(LossSettings):
    """Settings of what a step of a style's training draws and computes."""

    again: float = setting(
        0.0, "pairs: share of samples that start from the target itself, so that more steps do not restyle twice", allowed=SHARE
    )
    self_rollout: float = setting(
        0.0,
        "pairs, transfer: share of steps that start from the adapter's own result, so that more steps refine the first",
        formerly="own",
        allowed=SHARE,
    )
    self_rollout_steps: int = setting(1, "at most so many passes before the one that learns", formerly="own_steps", allowed=FROM_ONE)
    self_rollout_from: int = setting(
        0, "step after which a step may start from the adapter's own result", formerly="own_from", allowed=FROM_ZERO
    )
    caption_dropout: float = setting(
        0.3, "share of samples with the neutral prompt, so that the style works without a prompt", allowed=SHARE
    )
    min_snr_gamma: float = setting(5.0, "style pictures: gamma of the min-SNR weights; 0 weighs all timesteps alike", allowed=FROM_ZERO)
    style_weight: float = setting(0.0, "weight of the Gram distance to the style pictures", allowed=FROM_ZERO)

    @property
    def picture_weights(self) -> dict[str, float]:
        return {name: getattr(self, name) for name in ("perceptual", "style_weight", "contrast")}
