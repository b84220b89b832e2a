"""Captions as rows of token numbers, without a network: words by their hash, CLIP's own byte pairs, or a local file."""

import re
import zlib
from pathlib import Path
from typing import Annotated, Protocol

import torch
from torch import Tensor
from typing_extensions import override

from visionscapes.checks import Bounds, check_options
from visionscapes.errors import UserError

# Every tokenizer pads with it; what stands behind the end of a caption is never read.
PAD = 0


class Tokenizer(Protocol):
    """Turns captions into numbers.

    Attributes:
        size: of the vocabulary; all numbers are below it.
        end: number of the end of a caption, which stands in every row.
    """

    size: int
    end: int

    def __call__(self, captions: list[str]) -> Tensor:
        """Return (B, context) int64."""


class WordTokenizer(Tokenizer):
    """Numbers words by their hash, so that there is no vocabulary to fit, to ship or to forget.

    A caption is lower-cased and cut into words and punctuation marks; a word's number is its CRC-32 modulo the size.
    Two words may share a number: among 60 words and 8,192 numbers one such pair is expected in every five vocabularies.

    Args:
        size: of the vocabulary, with three numbers for padding, start and end; at least 4.
        context: length of a row; what is longer loses its last words, never its end.

    Raises:
        UserError: a size below 4 or a context below 3.
    """

    def __init__(self, size: Annotated[int, Bounds(least=4)] = 8192, context: Annotated[int, Bounds(least=3)] = 16):
        check_options(WordTokenizer, locals())
        self.size, self.context = size, context
        self.start, self.end = size - 2, size - 1

    @override
    def __call__(self, captions: list[str]) -> Tensor:
        rows = torch.full((len(captions), self.context), PAD)
        for row, caption in zip(rows, captions, strict=True):
            words = re.findall(r"\w+|[^\w\s]", caption.lower())
            numbers = [1 + zlib.crc32(word.encode()) % (self.size - 3) for word in words][: self.context - 2]
            row[: len(numbers) + 2] = torch.tensor([self.start, *numbers, self.end])
        return rows


class BytePairTokenizer(Tokenizer):
    """The tokenizer of CLIP, whose 49,408 byte pairs come with open_clip.

    Args:
        context: length of a row, 77 in CLIP.
    """

    def __init__(self, context: int = 77):
        from open_clip import SimpleTokenizer

        self._tokenizer = SimpleTokenizer(context_length=context)
        self.size, self.end = self._tokenizer.vocab_size, self._tokenizer.eot_token_id

    @override
    def __call__(self, captions: list[str]) -> Tensor:
        return self._tokenizer(captions)


class FolderTokenizer(Tokenizer):
    """A tokenizer of the transformers library, out of a local folder.

    Args:
        folder: as ``save_pretrained`` writes it.
        context: length of a row.

    Raises:
        UserError: the library is not installed, the folder holds no tokenizer, or that has no end of a text.
    """

    def __init__(self, folder: str, context: int):
        if not Path(folder).is_dir():
            raise UserError(
                f"tokenizer '{folder}' is no folder: give one that save_pretrained wrote, or bpe, or null for words"
            )
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise UserError(
                "a tokenizer out of a folder needs the library transformers: pip install transformers; bpe needs none"
            ) from error
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise UserError(f"'{folder}' holds no tokenizer of the library transformers: {error}") from error
        end = self._tokenizer.eos_token_id if self._tokenizer.sep_token_id is None else self._tokenizer.sep_token_id
        if end is None:
            raise UserError(f"the tokenizer in '{folder}' marks no end of a text (eos_token or sep_token): add one")
        self.size, self.end, self.context = len(self._tokenizer), end, context

    @override
    def __call__(self, captions: list[str]) -> Tensor:
        rows = torch.full((len(captions), self.context), PAD)
        for row, caption in zip(rows, captions, strict=True):
            numbers = self._tokenizer(caption, truncation=True, max_length=self.context)["input_ids"]
            numbers = numbers if numbers[-1:] == [self.end] else [*numbers[: self.context - 1], self.end]
            row[: len(numbers)] = torch.tensor(numbers)
        return rows


def load_tokenizer(name: str | None, context: int, vocabulary: int) -> Tokenizer:
    """Return the tokenizer of a name.

    Args:
        name: None for ``WordTokenizer``, "bpe" for ``BytePairTokenizer``, else the folder of a ``FolderTokenizer``.
        context: length of a row.
        vocabulary: size for ``WordTokenizer``; the others know theirs.
    """
    if name is None:
        return WordTokenizer(vocabulary, context)
    return BytePairTokenizer(context) if name == "bpe" else FolderTokenizer(name, context)
