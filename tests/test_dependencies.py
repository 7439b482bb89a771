"""The insides of diffusers, peft, transformers and accelerate that the code relies on, looked at one by one.

None of it is promised by those libraries. Where a new version has changed something, the test that fails says what to mend.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from diffusers import AutoencoderDC, AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection
from diffusers.training_utils import EMAModel
from diffusers.utils import convert_unet_state_dict_to_peft
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from peft.helpers import rescale_adapter_scale
from peft.tuners.lora import LoraLayer
from torch import nn

from stylekit.adapters.families import known_unets
from stylekit.base import Base


@contextmanager
def mend(where: str) -> Iterator[None]:
    """Whatever fails within says which part of the code has to be mended."""
    try:
        yield
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error}. Mend {where}.") from error


def parameters(function: Any) -> set[str]:
    return set(inspect.signature(function).parameters)


@pytest.fixture
def wrapped() -> nn.Module:
    """A linear layer and a convolution, wrapped by peft with ranks and alphas of their own."""
    model = nn.Sequential(nn.Linear(8, 8), nn.Conv2d(8, 8, 3))
    config = LoraConfig(r=2, lora_alpha=3, target_modules=["0", "1"], rank_pattern={"^1": 4}, alpha_pattern={"^1": 5})
    return inject_adapter_in_model(config, model, adapter_name="style-a%2Eb")


def test_attention_has_the_parts_that_style_pictures_look_through() -> None:
    with mend("stylekit/style_picture/reference.py (_attended, style_layers) and ip_adapter.py (_cross_attention, check_fits)"):
        layer = Attention(query_dim=8, cross_attention_dim=6, heads=2, dim_head=4)
        assert (layer.heads, layer.scale, layer.inner_dim, layer.cross_attention_dim, layer.rescale_output_factor) == (2, 0.5, 8, 6, 1.0)
        assert all(isinstance(part, nn.Linear) for part in (layer.to_q, layer.to_k, layer.to_v, layer.to_out[0]))


def test_an_ip_adapter_is_loaded_as_its_file_is() -> None:
    with mend("stylekit/style_picture/ip_adapter.py (_processor, _tokens, _brush)"):
        processor = IPAdapterAttnProcessor2_0(8, 6, num_tokens=(4,))
        assert set(processor.state_dict()) == {"to_k_ip.0.weight", "to_v_ip.0.weight"}
        assert list(inspect.signature(processor.__call__).parameters)[:4] == [
            "attn",
            "hidden_states",
            "encoder_hidden_states",
            "attention_mask",
        ]
        projection = ImageProjection(10, 6, 4)
        assert set(projection.state_dict()) == {"image_embeds.weight", "image_embeds.bias", "norm.weight", "norm.bias"}
        assert projection(torch.zeros(1, 10)).shape == (1, 4, 6)


def test_a_unet_has_the_names_and_the_configuration_that_are_read() -> None:
    with mend("stylekit/base.py (_check_unet, grid), training/style/lora.py (add_adapter) and stylekit/adapters/families.py"):
        for unet in known_unets().values():
            config = unet.config
            assert config.addition_embed_type is None
            assert isinstance(config.cross_attention_dim, int)
            assert len(config.block_out_channels) == len(unet.down_blocks) == len(unet.up_blocks)
            assert {"conv_in", "conv_out", "time_embedding"} <= {name for name, _ in unet.named_children()}
        names = known_unets()["Stable Diffusion 1.x"].attn_processors
        assert "up_blocks.1.attentions.0.transformer_blocks.0.attn2.processor" in names
        assert parameters(UNet2DConditionModel.forward) >= {"sample", "timestep", "encoder_hidden_states"}
        assert UNet2DConditionModel._supports_gradient_checkpointing  # training/style/style_run.py (open_base)


def test_autoencoders_encode_and_decode_as_the_base_calls_them() -> None:
    with mend("stylekit/base.py (encode, decode) and training/pocket/autoencoder.py"):
        with torch.no_grad():
            vae = AutoencoderKL(block_out_channels=(32,), latent_channels=4, sample_size=8)
            latents = vae.encode(torch.zeros(1, 3, 8, 8)).latent_dist.mode()
            assert vae.decode(latents).sample.shape == (1, 3, 8, 8)
        assert vae.config.scaling_factor == 0.18215
        base = Base.open()
        assert isinstance(base.vae, AutoencoderDC)
        assert any(type(module).__name__ == "ResBlock" and hasattr(module, "norm") for module in base.vae.decoder.modules())


def test_the_scheduler_says_its_noise_levels() -> None:
    with mend("stylekit/base.py (alphas_cumprod, prediction_type)"):
        scheduler = DDIMScheduler(prediction_type="v_prediction")
        assert scheduler.alphas_cumprod.shape == (1000,)
        assert scheduler.config.prediction_type == "v_prediction"


def test_files_of_older_diffusers_are_renamed() -> None:
    with mend("stylekit/adapters/lora_file.py (parse_lora)"):
        old = {"mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_q_lora.down.weight": torch.zeros(1)}
        assert list(convert_unet_state_dict_to_peft(old)) == ["mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"]


def test_peft_wraps_layers_as_adapters_are_put_in_and_taken_out(wrapped: nn.Module) -> None:
    key = "style-a%2Eb"
    with mend("stylekit/adapters/apply.py, lora_weights.py (lora_layers, lora_config) and weight_maps.py (add_by_map)"):
        linear, convolution = layers = [module for module in wrapped.modules() if isinstance(module, LoraLayer)]
        assert [(layer.r[key], layer.lora_alpha[key], layer.scaling[key]) for layer in layers] == [(2, 3, 1.5), (4, 5, 1.25)]
        assert [tuple(layer.lora_A[key].weight.shape) for layer in layers] == [(2, 8), (4, 8, 3, 3)]
        assert [tuple(layer.lora_B[key].weight.shape) for layer in layers] == [(8, 2), (8, 4, 1, 1)]
        assert isinstance(linear.get_base_layer(), nn.Linear)
        assert isinstance(convolution.get_base_layer(), nn.Conv2d)
        assert "0.base_layer.weight" in dict(wrapped.named_parameters())  # stylekit/adapters/deltas.py (WRAPPED)
        assert list(wrapped.peft_config) == [key]  # type: ignore[arg-type]
        for layer in layers:
            layer.set_adapter([])
            assert list(layer.active_adapters) == []
            layer.set_adapter([key])
            layer.set_scale(key, 0.5)
        assert [layer.scaling[key] for layer in layers] == [0.75, 0.625]
        linear.delete_adapter(key)
        assert not linear.lora_A


def test_peft_loads_tensors_by_name_and_says_what_is_left(wrapped: nn.Module) -> None:
    with mend("stylekit/adapters/apply.py (inject)"):
        state = {"0.lora_A.weight": torch.ones(2, 8), "9.lora_A.weight": torch.ones(2, 8)}
        result = set_peft_model_state_dict(wrapped, state, adapter_name="style-a%2Eb")
        layer = wrapped.get_submodule("0")
        assert torch.equal(layer.lora_A["style-a%2Eb"].weight, torch.ones(2, 8))  # type: ignore[index, union-attr]
        assert any("9" in name for name in result.unexpected_keys)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            inject_adapter_in_model(LoraConfig(r=1, target_modules=["0"]), wrapped, adapter_name="other")
        assert all(str(one.message).startswith("Already found a `peft_config`") for one in told if "peft_config" in str(one.message))


def test_peft_turns_an_adapter_down_while_it_is_trained(wrapped: nn.Module) -> None:
    with mend("training/style/lora.py (prepare: dial)"):
        layer = wrapped.get_submodule("0")
        with rescale_adapter_scale(wrapped, 0.5):
            assert layer.scaling["style-a%2Eb"] == 0.75  # type: ignore[index]
        assert layer.scaling["style-a%2Eb"] == 1.5  # type: ignore[index]


def test_the_moving_average_is_kept_and_put_back() -> None:
    with mend("training/loop/loop.py (make_average, averaged, _State)"):
        weight = nn.Parameter(torch.zeros(2))
        average = EMAModel([weight], decay=0.5, foreach=True)
        for value in (1.0, 3.0):
            with torch.no_grad():
                weight.fill_(value)
            average.step([weight])
        average.store([weight])
        average.copy_to([weight])
        assert 1 < float(weight[0].detach()) < 3
        average.restore([weight])
        assert torch.equal(weight, torch.full((2,), 3.0))
        average.load_state_dict(average.state_dict())


def test_transformers_has_the_text_and_the_image_encoder() -> None:
    from transformers import CLIPImageProcessor, CLIPTextConfig, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

    with mend("stylekit/base.py (_encode_prompt, text_encoder) and stylekit/style_picture/ip_adapter.py (embed)"):
        config = CLIPTextConfig(vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1)
        with torch.no_grad():
            assert CLIPTextModel(config)(torch.tensor([[1, 2, 15]]))[0].shape == (1, 3, 8)
        assert hasattr(CLIPTokenizer, "from_pretrained")
        assert CLIPImageProcessor(size={"shortest_edge": 16}, crop_size=16).crop_size["height"] == 16
        assert hasattr(CLIPVisionModelWithProjection, "from_pretrained")


def test_accelerate_opens_processes_as_training_wants_them() -> None:
    from accelerate import Accelerator, InitProcessGroupKwargs, PartialState

    with mend("training/loop/loop.py (open_accelerator, run) and eval/run.py"):
        assert parameters(Accelerator.__init__) >= {"mixed_precision", "cpu", "log_with", "project_dir", "kwargs_handlers"}
        assert "timeout" in parameters(InitProcessGroupKwargs.__init__)
        assert all(hasattr(Accelerator, name) for name in ("prepare", "reduce", "no_sync", "main_process_first", "end_training"))
        assert hasattr(PartialState, "main_process_first")
