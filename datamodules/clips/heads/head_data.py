"""What data sets of heads share: which samples there are to train on, to evaluate and to predict."""

from abc import abstractmethod

from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.clips.heads.prediction import PredictsHeads
from datamodules.clips.heads.shots import Subjects


class HeadData(PredictsHeads):
    """Base of data modules of heads: batches of task "heads" to train on, of task "subject" to evaluate."""

    train_task, eval_task, one_by_one = "heads", "subject", True

    @abstractmethod
    def trained(self) -> Dataset:
        """Return what there is to train on."""

    @abstractmethod
    def evaluated(self, part: str) -> Subjects:
        """Return the people to evaluate on of a part, "val" or "test"."""

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.train_set = self.trained()
        if stage in ("fit", "validate"):
            self.val_set = self.evaluated("val")
        if stage == "test":
            self.test_set = self.evaluated("test")
        if stage == "predict":
            self.predict_set = self.predicted()
