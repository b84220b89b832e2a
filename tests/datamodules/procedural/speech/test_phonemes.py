from datamodules.procedural.speech.phonemes import CLOSED, CONSONANTS, PHONEMES, SILENCE, VOWELS


def test_the_lips_shut_for_silence_and_for_the_sounds_of_the_lips_alone():
    assert set(CLOSED) == {SILENCE, "p", "b", "m"}
    assert {SILENCE, *VOWELS, *CONSONANTS} == set(PHONEMES)


def test_values_are_in_their_ranges():
    for sound in PHONEMES.values():
        assert 0 <= sound.opening <= 1
        assert -1 <= sound.width <= 1
        assert 0 <= sound.voice <= 1
        assert 0 <= sound.noise <= 1
        assert list(sound.formants) == sorted(sound.formants)
