"""What each normalisation is over, what it lets through, and what it does not notice: the tables of its page."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from seqloom.layers.linear import WeightNormLinear
from seqloom.layers.sequence_norm import SEQUENCE_NORMS, BatchNorm, GroupNorm

B, T, D, WIDTH = 3, 7, 11, 16
LENGTHS = (7, 4, 2)

PAGE = (Path(__file__).parents[2] / "docs" / "normalization.md").read_text(encoding="utf-8")

NORMS = [name for name in SEQUENCE_NORMS if name != "none"]


def mask() -> Tensor:
    return torch.arange(T) < torch.tensor(LENGTHS)[:, None]


def inputs(width: int = WIDTH) -> Tensor:
    torch.manual_seed(1)
    return 3 * torch.randn(B, T, width, dtype=torch.float64) + 1


def made(name: str, width: int = WIDTH) -> Any:
    """A norm whose weight and bias are not those that do nothing."""
    torch.manual_seed(2)
    norm = SEQUENCE_NORMS[name](width).double()
    for parameter in norm.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, mean=1.0)
    return norm


# --- each is its definition ---


def standardized(values: Tensor, eps: float = 1e-5) -> Tensor:
    return (values - values.mean()) / (values.var(correction=0) + eps).sqrt()


def test_batch_is_over_the_real_positions_of_all_texts_feature_by_feature() -> None:
    x, norm = inputs(), made("batch")
    found = norm(x, mask())[mask()]  # [N, WIDTH]
    for feature in range(WIDTH):
        expected = standardized(x[mask()][:, feature]) * norm.weight[feature] + norm.bias[feature]
        torch.testing.assert_close(found[:, feature], expected)


def test_batch_is_torchs_with_its_running_statistics() -> None:
    x, norm = inputs(), made("batch")
    assert isinstance(norm, BatchNorm)
    theirs = nn.BatchNorm1d(WIDTH).double()
    theirs.load_state_dict({"weight": norm.weight, "bias": norm.bias}, strict=False)
    for _ in range(3):
        torch.testing.assert_close(norm(x, mask())[mask()], theirs(x[mask()]))
    torch.testing.assert_close(norm.running_mean, theirs.running_mean, check_dtype=False, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(norm.running_variance, theirs.running_var, check_dtype=False, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(norm.eval()(x, mask())[mask()], theirs.eval()(x[mask()]), rtol=1e-6, atol=1e-6)


def test_batch_that_is_frozen_takes_its_running_statistics_and_leaves_them() -> None:
    x, norm = inputs(), made("batch")
    assert isinstance(norm, BatchNorm)
    norm(x, mask())
    for parameter in norm.parameters():
        parameter.requires_grad_(False)
    gathered = norm.running_mean.clone(), norm.running_variance.clone()
    found = norm(5 - x, mask())
    assert norm.running_mean.equal(gathered[0])
    assert norm.running_variance.equal(gathered[1])
    torch.testing.assert_close(found, norm.eval()(5 - x, mask()))


def test_instance_is_over_the_real_positions_of_one_text_feature_by_feature() -> None:
    x, norm = inputs(), made("instance")
    found = norm(x, mask())
    for row, length in enumerate(LENGTHS):
        for feature in (0, WIDTH - 1):
            expected = standardized(x[row, :length, feature]) * norm.weight[feature] + norm.bias[feature]
            torch.testing.assert_close(found[row, :length, feature], expected)


def test_group_is_over_a_group_of_features_at_the_real_positions_of_one_text() -> None:
    x, norm = inputs(), made("group")
    assert isinstance(norm, GroupNorm)
    assert norm.groups == 8
    found = norm(x, mask())
    for row, length in enumerate(LENGTHS):
        for group in range(8):
            features = slice(2 * group, 2 * group + 2)
            expected = standardized(x[row, :length, features]) * norm.weight[features] + norm.bias[features]
            torch.testing.assert_close(found[row, :length, features], expected)


@pytest.mark.parametrize(("width", "groups"), [(16, 8), (12, 4), (11, 1)])
def test_groups_divide_the_features(width: int, groups: int) -> None:
    norm = made("group", width)
    assert isinstance(norm, GroupNorm)
    assert norm.groups == groups
    assert norm(inputs(width), mask()).isfinite().all()


def test_layer_and_rms_are_torchs() -> None:
    x = inputs()
    for name, theirs in (("layer", nn.LayerNorm(WIDTH)), ("rms", nn.RMSNorm(WIDTH, eps=1e-6))):
        norm = made(name)
        theirs.double().load_state_dict(norm.state_dict())
        torch.testing.assert_close(norm(x, mask()), theirs(x))


# --- masks and types ---


@pytest.mark.parametrize("name", SEQUENCE_NORMS)
@pytest.mark.parametrize("junk", [1e9, torch.inf])
def test_what_stands_at_padding_changes_nothing_real(name: str, junk: float) -> None:
    x = inputs()
    dirty = x.masked_fill(~mask()[:, :, None], junk)
    torch.testing.assert_close(made(name)(dirty, mask())[mask()], made(name)(x, mask())[mask()])


@pytest.mark.parametrize("name", SEQUENCE_NORMS)
def test_more_padding_changes_nothing_real(name: str) -> None:
    x, real = inputs(), mask()
    wider, wide = nn.functional.pad(x, (0, 0, 0, 4)), nn.functional.pad(real, (0, 4))
    torch.testing.assert_close(made(name)(wider, wide)[wide], made(name)(x, real)[real])


@pytest.mark.parametrize("name", SEQUENCE_NORMS)
def test_the_type_is_kept(name: str) -> None:
    x = inputs().bfloat16().requires_grad_()
    out = SEQUENCE_NORMS[name](WIDTH)(x, mask())
    assert out.dtype == torch.bfloat16
    out.sum().backward()
    assert x.grad is not None
    assert x.grad.dtype == torch.bfloat16


# --- the page's tables ---


def table(heading: str) -> dict[str, dict[str, str]]:
    """The rows of the table under a heading: by the code in their first cells, cells by the head of their columns."""
    lines = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0].splitlines()
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {re.sub("`", "", row[0]): dict(zip(head[1:], row[1:], strict=True)) for row in rows}


SEES = table("Who sees whom")
UNMOVED = table("What makes no difference")


def test_the_tables_have_all_of_them() -> None:
    assert list(SEES) == NORMS
    assert list(UNMOVED) == [*NORMS, "weight_norm", "nothing"]


def differs(a: Tensor, b: Tensor) -> bool:
    return not torch.allclose(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("training", [True, False])
def test_who_sees_whom(name: str, training: bool) -> None:
    """Changes one text, one time, one feature, and looks whether another one changes."""
    x, real = inputs(), torch.ones(B, T, dtype=torch.bool)
    norm = made(name).train(training)

    def moves(changed: tuple[int, int, int], seen: tuple[int, int, int]) -> bool:
        other = x.clone()
        other[changed] += 5
        return differs(norm(other, real)[seen], norm(x, real)[seen])

    found = {
        "other texts of the batch": moves((1, 2, 3), (0, 2, 3)),
        "other words of the text": moves((0, 5, 3), (0, 2, 3)),
        "other numbers of the word": moves((0, 2, 2), (0, 2, 3)),
    }
    expected = {
        column: {"yes": True, "no": False, "while training": training}[cell] for column, cell in SEES[name].items()
    }
    assert found == expected


def linear_and_norm(name: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(3)
    if name == "weight_norm":
        return WeightNormLinear(D, WIDTH).double(), SEQUENCE_NORMS["none"](WIDTH)
    norm = made("none" if name == "nothing" else name)
    norm.eps = 1e-15  # what is added to a variance is larger or smaller beside it
    return nn.Linear(D, WIDTH, bias=False).double(), norm


def weight_of(linear: nn.Module) -> Tensor:
    return linear.direction if isinstance(linear, WeightNormLinear) else linear.weight  # type: ignore[return-value]


def unmoved(name: str, column: str) -> bool:
    """Whether norm(W x) stays what it is, when W, one row of it, all inputs or those of one text are made larger."""
    real = mask()
    x = inputs(D)
    linear, norm = linear_and_norm(name)
    before = norm(linear(x), real)[real]
    with torch.no_grad():
        if column == "all of W":
            weight_of(linear).mul_(7)
        elif column == "one row of W":
            weight_of(linear)[5].mul_(7)
        elif column == "all inputs":
            x = 7 * x
        else:
            assert column == "one text's inputs"
            x = x * torch.tensor([7.0, 1.0, 1.0])[:, None, None]
    return torch.allclose(norm(linear(x), real)[real], before, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", UNMOVED)
@pytest.mark.parametrize("column", UNMOVED["batch"])
def test_what_makes_no_difference(name: str, column: str) -> None:
    assert {True: "yes", False: "no"}[unmoved(name, column)] == UNMOVED[name][column]


def test_a_larger_matrix_gets_a_smaller_gradient() -> None:
    """What does not depend on the length of W has gradients that fall with it: 7 times W, a 7th of the gradient."""
    x, real = inputs(D), mask()
    for name in (*NORMS, "weight_norm"):
        gradients = []
        for factor in (1, 7):
            linear, norm = linear_and_norm(name)
            weight = weight_of(linear)
            with torch.no_grad():
                weight.mul_(factor)
            torch.manual_seed(5)
            out = norm(linear(x), real)[real]
            (out * torch.randn_like(out)).sum().backward()
            assert weight.grad is not None
            gradients.append(weight.grad)
        torch.testing.assert_close(7 * gradients[1], gradients[0], rtol=1e-6, atol=1e-6)
