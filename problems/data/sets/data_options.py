"""Options of the data that every task takes: which, where it lies, how it is split and prepared."""

from __future__ import annotations

from typing import Annotated, Literal

from opt.console.option_groups import option_group
from opt.console.ranges import Count, Range, Seed
from problems.data.scaling import Wanted
from problems.data.sets.example_set import ExampleSet, load_examples


@option_group
class DataOptions:
    """The data and its three splits.

    Args:
        data: Data set: digits, fashion-mnist, mnist, qmnist, kmnist, cifar10, brackets (texts made by a formula); a
            folder of IDX files, or of pictures in one folder a class; FILE.npz or FILE.csv; or a function of your own
            that gives examples, FILE.py:NAME or package.module:NAME.
        data_dir: Folder with a named set's files; by default the usual places, then a download.
        split_seed: Seed of the split of the training examples into those for training and those for search.
        n_search: Examples in the search split; by default 10,000 or a fifth of the training examples.
        n_test: Test examples to measure on, the first of them; by default all.
        input_scale: What inputs are divided by; by default bytes by 255, other numbers not at all.
        input_mean: What is then taken from them: a number, one a channel or feature separated by commas, or train for
            the mean of the training examples; by default nothing.
        input_std: What they are then divided by, likewise.
        image_size: Pixels that images are brought to, SIDE or HEIGHTxWIDTH; by default they stay as they are.
        image_channels: Channels that images are brought to: 1 or 3; pictures of a folder have 3.
    """

    data: str = "digits"
    data_dir: str | None = None
    split_seed: Seed = 0
    n_search: int | None = None
    n_test: Count | None = None
    input_scale: Annotated[float, Range(1e-9, 1e9)] | None = None
    input_mean: str | None = None
    input_std: str | None = None
    image_size: str | None = None
    image_channels: Literal[1, 3] | None = None

    def load(self) -> ExampleSet:
        """The data, split and prepared.

        Raises:
            UsageError: As `load_examples`.
        """
        wanted = Wanted(self.input_scale, self.input_mean, self.input_std, self.image_size, self.image_channels)
        return load_examples(
            self.data,
            data_dir=self.data_dir,
            split_seed=self.split_seed,
            n_search=self.n_search,
            n_test=self.n_test,
            wanted=wanted,
        )
