import subprocess
import sys
from pathlib import Path

import pytest

from command_line import quick_imports

ROOT = Path(__file__).parents[2]
HEAVY = (
    "torchvision",
    quick_imports.COMPILER,
    "torchmetrics.functional",
    "scipy",
    "timm",
    "transformers",
    "mmdet",
    "wandb",
)


def python(code: str, *args: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *args], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["--config", "configs/lift.yaml", "--print_config"],
        pytest.param(["--model.help", "LiFT"], marks=pytest.mark.slow),
    ],
)
def test_what_only_prints_imports_neither_all_metrics_nor_the_compiler(args):
    code = (
        "import atexit, sys, cli\n"
        f"atexit.register(lambda: print('imported', [name for name in {HEAVY} if name in sys.modules]))\n"
        "cli.main(['fit', *sys.argv[1:]])"
    )
    assert python(code, *args).splitlines()[-1] == "imported []"


@pytest.mark.slow
def test_whoever_uses_them_gets_them():
    """What was put off is there as soon as it is asked for, and Lightning knows compiled modules and real metrics."""
    said = python("""
import pickle, sys
from command_line.quick_imports import import_lightning, no_garbage_collection
with no_garbage_collection():
    import_lightning()
import gc
assert gc.isenabled()
import pytorch_lightning, torch, torchmetrics
from pytorch_lightning.trainer.connectors.logger_connector import result
from pytorch_lightning.utilities import compile
assert "torch._dynamo" not in sys.modules
layer = torch.nn.Linear(2, 2)
assert not isinstance(layer, compile.OptimizedModule)
assert torchmetrics.Metric is result.Metric and "torchmetrics.functional" not in sys.modules
from torchmetrics import Accuracy, Metric, MetricCollection
assert Metric is result.Metric and issubclass(Accuracy, Metric) and torchmetrics.functional.accuracy
assert torchmetrics.MeanMetric is torchmetrics.aggregation.MeanMetric and torchmetrics.__version__
pickle.loads(pickle.dumps(torchmetrics.MeanMetric()))
compiled = torch.compile(layer, backend="eager")
assert isinstance(compiled, compile.OptimizedModule) and not isinstance(layer, compile.OptimizedModule)
from torch._dynamo import OptimizedModule
assert type(compiled) is OptimizedModule
log = result._ResultCollection(training=True)
assert "call" not in log.log.__name__ and log.valid_items() is not None
@torch.compile(backend="eager")
def step(x):
    log.log("step", "loss", x.mean(), on_step=True, on_epoch=False, batch_size=1)
    return x + 1
assert torch.equal(step(torch.ones(2)), torch.full((2,), 2.0))
assert float(log.metrics(on_step=True)["callback"]["loss"]) == 1
print("every assertion held")
""")
    assert said.splitlines()[-1] == "every assertion held"


@pytest.mark.slow
def test_other_versions_are_imported_as_usual():
    said = python("""
import sys
from command_line import quick_imports
quick_imports.PARTS["utilities"] = "torchmetrics.no_such_part"
del quick_imports._StandIn.disable
quick_imports.import_lightning()
import pytorch_lightning.cli, torchmetrics
assert torchmetrics.MeanMetric and "torchmetrics.functional" in sys.modules and "torch._dynamo" in sys.modules
from pytorch_lightning.utilities.compile import OptimizedModule
from torch._dynamo import OptimizedModule as Real
assert OptimizedModule is Real
print("every assertion held")
""")
    assert said.splitlines()[-1] == "every assertion held"
