"""Style adapters: LoRA and DreamBooth deltas, their files, and how they are put into a UNet and taken out again."""
