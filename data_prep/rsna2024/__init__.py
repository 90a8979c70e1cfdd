"""The RSNA 2024 competition's download → volumes and a datalist: `datalist.build`."""
