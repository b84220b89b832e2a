from visionscapes.errors import LETTERS_AT_THE_END, LONGEST_WORD, UserError, in_words, tell


def test_bytes_that_are_no_text_stay_out_of_the_message():
    content = b"\xff" * 5000
    try:
        content.decode()
    except UnicodeDecodeError as error:
        said = in_words(error)
    assert "can't decode byte 0xff in position 0" in said
    assert len(said) < 120


def test_a_missing_key_is_told_as_one_and_long_texts_are_cut():
    assert in_words(KeyError("bbox")) == "KeyError('bbox')"
    assert len(in_words(ValueError("x" * 5000))) < 210


def test_what_a_worker_hands_over_is_the_message_alone():
    printed = "Caught UserError in DataLoader worker process 0.\nTraceback ...\nvisionscapes.errors.UserError: a"
    assert str(UserError(printed)) == "a"


def test_tell_prints_a_line_and_returns_the_status(capsys):
    assert tell(UserError("a.mp4 shows no face: leave it out")) == 2
    assert capsys.readouterr() == ("", "error: a.mp4 shows no face: leave it out\n")


def test_tell_cuts_words_that_nobody_reads_and_leaves_both_ends(capsys):
    tell(f"--size is {'9' * 5000}; it has to be\nat most {'8' * LONGEST_WORD}")
    beginning, end = "9" * (LONGEST_WORD - LETTERS_AT_THE_END), "9" * (LETTERS_AT_THE_END - 1) + ";"
    assert capsys.readouterr().err == (
        f"error: --size is {beginning}...{end} it has to be\nat most {'8' * LONGEST_WORD}\n"
    )
    tell(f"/a{'/folder' * 100}/picture.png is no picture")
    assert "/picture.png is no picture" in capsys.readouterr().err
