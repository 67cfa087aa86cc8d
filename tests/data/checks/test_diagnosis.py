from seqloom.data.checks.diagnosis import Misalignment, lacking


def test_a_misalignment_says_where_it_begins_and_ends():
    open_end = Misalignment(0, 0, "b.en:7", 7, -2, None, 1.0)
    assert str(open_end) == "from b.en:7 on the source lacks 2 lines"
    closed = Misalignment(0, 0, "b.en:7", 7, 1, 1234, 1.0)
    assert (
        str(closed)
        == "from b.en:7 to line 1,234 the target lacks 1 line where this begins, and has 1 too many where it ends"
    )
    assert lacking(3) == "target lacks 3 lines"
