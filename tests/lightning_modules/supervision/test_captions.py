import subprocess
import sys
import zlib

import pytest
import torch

from lightning_modules.supervision.captions import BytePairTokenizer, FolderTokenizer, WordTokenizer, load_tokenizer
from visionscapes.errors import UserError


def test_words_by_hand():
    rows = WordTokenizer(size=100, context=8)(["A red car.", ""])
    red, car, dot, a = (1 + zlib.crc32(word.encode()) % 97 for word in ("red", "car", ".", "a"))
    assert rows.tolist() == [[98, a, red, car, dot, 99, 0, 0], [98, 99, 0, 0, 0, 0, 0, 0]]
    assert rows.dtype == torch.int64


def test_long_captions_lose_words_but_never_their_end():
    tokenizer = WordTokenizer(size=100, context=5)
    rows = tokenizer(["one two three", "one two three four five"])
    assert rows[0].tolist() == rows[1].tolist()
    assert rows[0, -1] == tokenizer.end


def test_words_stay_in_the_vocabulary_and_apart_from_the_marks():
    tokenizer = WordTokenizer(size=16, context=300)
    row = tokenizer([" ".join(map(str, range(250)))])[0]
    words = row[1:251]
    assert words.min() >= 1
    assert words.max() < tokenizer.start
    assert (row == tokenizer.end).sum() == 1
    assert not row[252:].any()


def test_other_processes_give_the_same_numbers():
    made = "from lightning_modules.supervision.captions import WordTokenizer"
    code = f"{made}; print(WordTokenizer()(['a häuschen']).tolist())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(WordTokenizer()(["a häuschen"]).tolist())


@pytest.mark.parametrize(
    ("size", "context", "message"),
    [(3, 8, "size is 3; it has to be at least 4"), (100, 2, "context is 2; it has to be at least 3")],
)
def test_too_small(size, context, message):
    with pytest.raises(UserError, match=f"WordTokenizer.{message}"):
        WordTokenizer(size, context)


def test_byte_pairs_are_those_of_clip():
    tokenizer = BytePairTokenizer(context=8)
    # "a photo of a cat" by openai/CLIP.
    assert tokenizer(["a photo of a cat"]).tolist() == [[49406, 320, 1125, 539, 320, 2368, 49407, 0]]
    assert (tokenizer.size, tokenizer.end) == (49408, 49407)
    assert tokenizer(["a " * 50])[0, -1] == tokenizer.end


def test_names():
    assert isinstance(load_tokenizer(None, 8, 64), WordTokenizer)
    assert isinstance(load_tokenizer("bpe", 8, 64), BytePairTokenizer)
    with pytest.raises(UserError, match=r"no folder.*bpe"):
        load_tokenizer("nowhere", 8, 64)


def test_a_folder_of_the_library_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[SEP]": 2, "a": 3, "car": 4}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    marks = {"unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **marks).save_pretrained(tmp_path)
    tokenizer = FolderTokenizer(str(tmp_path), 5)
    assert (tokenizer.size, tokenizer.end) == (5, 2)
    assert tokenizer(["a car", "a a a a a car bus"]).tolist() == [[3, 4, 2, 0, 0], [3, 3, 3, 3, 2]]


def test_a_folder_without_the_library(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match="pip install transformers"):
        FolderTokenizer(str(tmp_path), 5)
