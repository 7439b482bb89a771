"""What a photo is of: figure and ground, and the skin of people."""
