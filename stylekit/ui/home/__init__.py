"""What a visitor takes home: formats and print sizes, the share sheet, settings as presets, links and files."""
