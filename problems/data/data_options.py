"""Options of the data set that every task takes: which one, where it lies, how it is split."""

from __future__ import annotations

from opt.console.option_groups import option_group
from opt.console.ranges import Seed
from problems.data.data import Dataset, load_dataset


@option_group
class DataOptions:
    """The data set and the split of its training images.

    Args:
        data: Data set: digits, fashion-mnist, mnist, qmnist, kmnist, cifar10, or a folder of IDX files.
        data_dir: Folder with the data set's files; by default the usual places, then a download.
        split_seed: Seed of the split of the training images into those for training and those for search.
    """

    data: str = "digits"
    data_dir: str | None = None
    split_seed: Seed = 0

    def load(self) -> Dataset:
        """The data set, split.

        Raises:
            UsageError: As `load_dataset`.
        """
        return load_dataset(self.data, data_dir=self.data_dir, split_seed=self.split_seed)


@option_group
class SearchDataOptions(DataOptions):
    """The same of a task that is searched on a split of its own size.

    Args:
        n_search: Images in the search split; by default 10,000 or a fifth of the training images.
    """

    n_search: int | None = None

    def load(self) -> Dataset:
        """The data set, split.

        Raises:
            UsageError: As `load_dataset`.
        """
        return load_dataset(self.data, data_dir=self.data_dir, split_seed=self.split_seed, n_search=self.n_search)
