from setuptools import find_packages, setup

# The bundles lie at the top level of the repository and travel inside the package: monai_spine/bundles in a wheel.
BUNDLES = "monai_spine.bundles"

setup(
    packages=[*find_packages(include=["monai_spine*", "data_prep*"]), BUNDLES],
    package_dir={BUNDLES: "bundles"},
    package_data={
        BUNDLES: [
            *("*/LICENSE", "*/configs/**", "*/docs/**"),
            *("*/models/model.pt", "*/models/model.json"),
            *("*/models/model.features.safetensors", "*/models/model.canal.json"),
            *("*/models/regions*.pt", "*/models/regions*.json", "*/models/measures*.json"),
        ]
    },
)
