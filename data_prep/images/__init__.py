"""Folders, tables and channels of single images → a checked image-classification datalist: `build.build`."""
