"""How fast the desk hands out tasks and takes answers in. bench/labeling.py says what is measured and how.

python bench/queue.py [--help]
"""

import sys
from importlib.util import module_from_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    from bench.labeling import main

    main()
else:
    # Another program of this folder wants Python's own `queue`, which it finds only behind this file: give way.
    from importlib.machinery import PathFinder

    own = PathFinder.find_spec("queue", [path for path in sys.path if Path(path).resolve() != ROOT / "bench"])
    assert own is not None
    assert own.loader is not None
    sys.modules[__name__] = module_from_spec(own)
    own.loader.exec_module(sys.modules[__name__])
