"""The experiments by name."""

from collections.abc import Callable

from seqloom.lab.order import order
from seqloom.lab.page import Page
from seqloom.lab.parallel import parallel
from seqloom.lab.scaling import scaling

LAB: dict[str, Callable[[bool], Page]] = {"order": order, "parallel": parallel, "scaling": scaling}
"""Each makes its page; in full, if it is told so, which takes longer."""
