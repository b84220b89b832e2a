import pytest
import torch
from pytorch_lightning import LightningDataModule, Trainer
from torch.utils.data import Dataset

from datamodules.common.parts import DataInParts


class Numbers(Dataset):
    def __init__(self, first, count):
        self.numbers = torch.arange(first, first + count)

    def __len__(self):
        return len(self.numbers)

    def __getitem__(self, index):
        return {"number": self.numbers[index]}


class InPairs(DataInParts):
    train_task, eval_task = "count", "check"

    def __init__(self, validation=3):
        super().__init__(batch_size=2, num_workers=0, seed=5)
        self.train_set, self.val_set = Numbers(0, 5), Numbers(10, validation)
        self.test_set, self.predict_set = Numbers(20, 3), Numbers(30, 3)
        self.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)


class OneByOne(InPairs):
    one_by_one = True


def batches(loader):
    return [(batch["task"], batch["number"].tolist()) for batch in loader]


def test_parts_are_in_order_and_each_sample_comes_once():
    data = InPairs()
    assert isinstance(data, LightningDataModule)
    assert batches(data.val_dataloader()) == [("check", [10, 11]), ("check", [12])]
    assert batches(data.test_dataloader()) == [("check", [20, 21]), ("check", [22])]
    assert batches(data.predict_dataloader()) == [("predict", [30, 31]), ("predict", [32])]


def test_the_training_is_shuffled_by_the_seed_in_whole_batches():
    first, second = (batches(InPairs().train_dataloader()) for _ in range(2))
    assert first == second
    assert [(task, len(numbers)) for task, numbers in first] == [("count", 2)] * 2
    assert len({number for _, numbers in first for number in numbers} & set(range(5))) == 4


def test_samples_of_many_sizes_come_one_by_one_but_for_the_training():
    data = OneByOne()
    assert batches(data.test_dataloader()) == [("check", [20]), ("check", [21]), ("check", [22])]
    assert all(len(numbers) == 2 for _, numbers in batches(data.train_dataloader()))


@pytest.mark.parametrize("kind", [InPairs, OneByOne])
def test_an_empty_validation_has_no_loader(kind):
    assert kind(validation=0).val_dataloader() == []
