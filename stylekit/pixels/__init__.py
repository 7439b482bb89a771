"""Operations on pixels (N, C, H, W) that know nothing of models."""
