from json import loads

from command_line.errors.origin import innermost, raised_by_library


def caught(function):
    try:
        function()
    except Exception as error:
        error.__traceback__ = error.__traceback__.tb_next  # without the frame of this function
        return error
    raise AssertionError


def test_an_error_of_a_library_alone():
    error = caught(lambda: loads("{"))
    assert not raised_by_library(error)  # this file has a part in it
    error.__traceback__ = error.__traceback__.tb_next
    assert raised_by_library(error)
    assert innermost(error) == "json"


def test_an_error_that_was_never_raised_is_of_no_library():
    assert not raised_by_library(ValueError())
    assert innermost(ValueError()) == ""
