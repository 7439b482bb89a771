"""What is laid on a photo before it is encoded."""
