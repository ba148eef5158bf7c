"""Sources of samples: inputs, labels and class names, loaded once.

Each function here can be a `data.source._target_`. A function of your own must return a `Source`
(docs/own_data.md). They raise `ConfigError` for mistakes that the user can correct.
"""

from skewlab.data.sources.digits import mnist5k
from skewlab.data.sources.folders import image_folder
from skewlab.data.sources.hub import huggingface
from skewlab.data.sources.lists import image_list, inaturalist
from skewlab.data.sources.npz import arrays
from skewlab.data.sources.source import Inputs, Kind, OnDisk, Source, load
from skewlab.data.sources.tables import table
from skewlab.data.sources.torchvision_sets import torchvision_set
from skewlab.data.sources.wheels import breast_cancer, diamonds, languages, mnist1d, storms

__all__ = [
    "Inputs",
    "Kind",
    "OnDisk",
    "Source",
    "arrays",
    "breast_cancer",
    "diamonds",
    "huggingface",
    "image_folder",
    "image_list",
    "inaturalist",
    "languages",
    "load",
    "mnist1d",
    "mnist5k",
    "storms",
    "table",
    "torchvision_set",
]
