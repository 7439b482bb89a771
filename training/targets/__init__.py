"""What a photo should become: targets made by procedure, from the palette of paintings or by a teacher, and pairs of both."""
