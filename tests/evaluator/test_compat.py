import json
import subprocess
import sys

PROGRAM = """
import json, logging, sys
from evaluator.compat import load_metric_module
handlers = list(logging.root.handlers)
for name in ("dci", "factor_vae", "sap_score", "mig", "irs"):
    load_metric_module(name)
import tensorflow
print(json.dumps({
    "modules": [name for name in ("tensorflow_hub", "pkg_resources") if name in sys.modules],
    "handlers_kept": logging.root.handlers == handlers,
    "logging_disabled": logging.root.manager.disable,
    "gpus": len(tensorflow.config.get_visible_devices("GPU")),
}))
"""


def test_the_five_metrics_import_silently_and_without_tensorflow_hub():
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert answer.stderr == ""
    assert json.loads(answer.stdout) == {
        "modules": [],
        "handlers_kept": True,
        "logging_disabled": 0,
        "gpus": 0,
    }
