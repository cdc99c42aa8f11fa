"""Trains byte pairs on a text (Sennrich et al., 2016, arXiv:1508.07909), split as GPT-2 does."""

import os
from collections.abc import Iterable

from minigpt.tokens.gpt2_table import bytes_of_words

# A pair that occurs once would be a token for one place in the text.
LEAST_PAIRS = 2


def merged_tokens(texts: Iterable[str], n_vocab: int) -> list[bytes]:
    """The tokens that the most frequent pairs of a text are merged into, in order.

    n_vocab: all ids, the 256 bytes and the end of text included. Fewer tokens come back where no
    pair is left that occurs twice. The same texts give the same tokens, in whatever order.
    """
    # Without a word on it the library warns in each process that is forked later.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    # Imported only now: a run whose tokens are prepared must not wait for it.
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab - 1,
        min_frequency=LEAST_PAIRS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(texts, trainer)
    vocabulary = library.get_vocab()
    return bytes_of_words(sorted(vocabulary, key=lambda word: vocabulary[word])[256:])
