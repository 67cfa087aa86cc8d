"""A trained model in other engines' formats, and those engines as drop-in runners."""
