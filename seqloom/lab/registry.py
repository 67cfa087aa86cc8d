"""The experiments by name."""

from collections.abc import Callable

from seqloom.lab.depth import depth
from seqloom.lab.distance import distance
from seqloom.lab.fixed_code import fixed_code
from seqloom.lab.heads import heads
from seqloom.lab.length import length
from seqloom.lab.order import order
from seqloom.lab.page import Page
from seqloom.lab.parallel import parallel
from seqloom.lab.projection import projection
from seqloom.lab.scaling import scaling
from seqloom.lab.small_data import small_data

LAB: dict[str, Callable[[bool], Page]] = {
    "depth": depth,
    "distance": distance,
    "fixed-code": fixed_code,
    "heads": heads,
    "length": length,
    "order": order,
    "parallel": parallel,
    "projection": projection,
    "scaling": scaling,
    "small-data": small_data,
}
"""Each makes its page; in full, if it is told so, which takes longer."""
