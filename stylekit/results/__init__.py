"""Results as files to take home: formats, the recipe inside, sizes of paper. Files of settings and links are recipes too."""
