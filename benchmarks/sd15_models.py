"""Models of Stable Diffusion 1.5's classes and blocks with random weights, at full and at reduced width: for benchmarks and tests.

Times, memory, shapes and formats do not depend on the weights; nothing made with them says anything about quality.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import AutoencoderKL, PNDMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyz"
WORDS = ("<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS), "ca", "cat</w>")
SCHEDULER = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
}


@dataclass(frozen=True, kw_only=True)
class Width:
    """Widths of the three networks; the blocks, and the UNet's number of them, are Stable Diffusion 1.5's at any width."""

    unet: tuple[int, ...]
    vae: tuple[int, ...]
    text: int
    text_layers: int
    text_heads: int
    words: int


FULL = Width(unet=(320, 640, 1280, 1280), vae=(128, 256, 512, 512), text=768, text_layers=12, text_heads=12, words=49408)
REDUCED = Width(unet=(32, 64, 128, 128), vae=(32, 32, 64, 64), text=64, text_layers=2, text_heads=4, words=1000)
WIDTHS = {"full": FULL, "reduced": REDUCED}


def build_unet(width: Width) -> UNet2DConditionModel:
    """The UNet: diffusers' defaults are Stable Diffusion 1's blocks."""
    return UNet2DConditionModel(sample_size=64, block_out_channels=width.unet, cross_attention_dim=width.text)


def build_vae(width: Width) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=width.vae,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        norm_num_groups=32,
        sample_size=512,
        scaling_factor=0.18215,
    )


def build_text_encoder(width: Width) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=width.words,
        hidden_size=width.text,
        intermediate_size=4 * width.text,
        num_hidden_layers=width.text_layers,
        num_attention_heads=width.text_heads,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
        projection_dim=width.text,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    return CLIPTextModel(config)


def save_model(folder: Path, width: Width) -> Path:
    """A random model at `width` in diffusers' layout: UNet, autoencoder, text encoder, tokenizer of a few words, scheduler."""
    torch.manual_seed(0)
    for name, build in (("unet", build_unet), ("vae", build_vae), ("text_encoder", build_text_encoder)):
        build(width).save_pretrained(folder / name)
    PNDMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    tokenizer = folder / "tokenizer"
    tokenizer.mkdir()
    (tokenizer / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    (tokenizer / "merges.txt").write_text("#version: 0.2\nc a\nca t</w>\n")
    CLIPTokenizer.from_pretrained(tokenizer, model_max_length=77).save_pretrained(tokenizer)
    classes = {
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    index = {"_class_name": "StableDiffusionPipeline", "requires_safety_checker": False, **classes}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder
