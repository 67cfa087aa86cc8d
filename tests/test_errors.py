import inspect
import re

import pytest

from seqloom import errors

CLASSES = {
    name: cls for name, cls in vars(errors).items() if inspect.isclass(cls) and issubclass(cls, errors.SeqloomError)
}


def test_the_tree_in_the_docstring_is_the_tree():
    drawn = {
        name: (len(indent) // 4, int(status) if status else None)
        for indent, name, status in re.findall(r"^    ([ └├│─]*)(\w+Error) +(\d)?", errors.__doc__ or "", re.MULTILINE)
    }
    assert drawn == {
        name: (cls.__mro__.index(errors.SeqloomError), cls.__dict__.get("exit_status")) for name, cls in CLASSES.items()
    }


@pytest.mark.parametrize("name", CLASSES)
def test_exit_status_is_2_for_what_the_user_can_put_right(name):
    assert CLASSES[name].exit_status == (2 if issubclass(CLASSES[name], errors.UserError) else 1)


def test_the_message_is_the_sentence():
    assert str(errors.DataError("a.de:3: one field, expected 2")) == "a.de:3: one field, expected 2"


def test_what_is_quoted_does_not_steer_the_terminal():
    assert errors.shown("你好\u3000a\u00a0b\x1b[2J\u202e\n") == "你好\u3000a\u00a0b\\x1b[2J\\u202e\\n"
    assert errors.shown("a" * 61) == "a" * 60 + "..."
