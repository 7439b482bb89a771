"""What a pass of a model in Stable Diffusion 1.x layout is told and held to: a style's words, the photo's structure."""
