"""How much of the content is kept, from the features of a perceptual network: LPIPS, content loss and CFSD."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.nn import functional as F

Features = Mapping[str, torch.Tensor]

EPSILON = 1e-10  # added to the length of a feature before dividing by it, as lpips does
PATCHES = 32  # features are averaged to at most so many a side before all are compared with all


def lpips_distance(ours: Features, theirs: Features, heads: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """LPIPS (Zhang et al. 2018, https://arxiv.org/abs/1801.03924) of each pair, (N,): 0 for equal pictures.

    ours, theirs: layer -> (N, C, H, W). heads: layer -> (C,), the learned weight of each channel, which may not be negative; the layers
    it names are summed. A factor on a channel's features changes the outcome, so they are to be those the heads were learned on.
    """
    terms = []
    for name, head in heads.items():
        x, y = (_unit(features[name].float()) for features in (ours, theirs))
        terms.append(((x - y).pow(2) * head.view(1, -1, 1, 1)).sum(1).mean((1, 2)))
    return torch.stack(terms).sum(0)


def content_loss(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Mean squared difference of one layer's features (N, C, H, W), (N,) (Gatys et al. 2016)."""
    return (ours.float() - theirs.float()).pow(2).mean((1, 2, 3))


def cfsd(ours: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Content feature structural distance (Chung et al. 2024, https://arxiv.org/abs/2312.09008) of each pair, (N,): 0 for equal pictures.

    Which patches of a picture are alike is a matter of its content, not of its style: every patch has a distribution over all patches,
    the softmax of its feature's inner products with theirs, and the distance is the mean Kullback-Leibler divergence of those of `ours`
    from those of `theirs`. Features (N, C, H, W). Departures from the paper: VGG16 for VGG19; features are in units of their channel's
    root mean square and products are divided by sqrt(C), so that the network's scale has no say; at most `PATCHES` patches a side.
    """
    logs = [_self_similarity(features) for features in (theirs, ours)]
    return F.kl_div(logs[1], logs[0], reduction="none", log_target=True).sum(-1).mean(-1)


def _unit(features: torch.Tensor) -> torch.Tensor:
    return features / (features.pow(2).sum(1, keepdim=True).sqrt() + EPSILON)


def _self_similarity(features: torch.Tensor) -> torch.Tensor:
    """(N, P, P) logarithms: row p is the distribution of patch p over all patches."""
    h, w = (min(side, PATCHES) for side in features.shape[-2:])
    patches = F.adaptive_avg_pool2d(features.float(), (h, w)).flatten(2).transpose(1, 2)
    return F.log_softmax(patches @ patches.transpose(1, 2) / patches.shape[-1] ** 0.5, dim=-1)
