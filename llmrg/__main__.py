"""``python -m llmrg``: the command line of this interpreter's environment.

Promise: the same as ``llmrg``, whichever of them the shell would find.
"""

from llmrg.cli import main

if __name__ == "__main__":
    main()
