from .mappings import *
from .model import *
