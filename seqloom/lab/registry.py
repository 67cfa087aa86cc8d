"""The experiments by name."""

from collections.abc import Callable

from seqloom.lab.depth import depth
from seqloom.lab.heads import heads
from seqloom.lab.order import order
from seqloom.lab.page import Page
from seqloom.lab.parallel import parallel
from seqloom.lab.projection import projection
from seqloom.lab.scaling import scaling

LAB: dict[str, Callable[[bool], Page]] = {
    "depth": depth,
    "heads": heads,
    "order": order,
    "parallel": parallel,
    "projection": projection,
    "scaling": scaling,
}
"""Each makes its page; in full, if it is told so, which takes longer."""
