"""Writes `checkpoint_pgm_tame.ckpt`: `checkpoint_pgm.ckpt` with the sine of each number, rounded to float32.

    python tame_checkpoint.py

The numbers of `checkpoint_pgm.ckpt` say where they belong and are too large to compute with. Averaged weights
stay the raw ones with another sign. No package is needed.
"""

import math
import pathlib
import struct
import zipfile

folder = pathlib.Path(__file__).parent
golden = zipfile.ZipFile(folder / "checkpoint_pgm.ckpt")
with zipfile.ZipFile(folder / "checkpoint_pgm_tame.ckpt", "w") as tame:
    for entry in golden.infolist():
        content = golden.read(entry)
        if "/data/" in entry.filename:
            numbers = struct.unpack(f"<{len(content) // 4}f", content)
            sines = (math.sin(x) if math.isfinite(x) else x for x in numbers)
            content = struct.pack(f"<{len(numbers)}f", *sines)
        tame.writestr(zipfile.ZipInfo(entry.filename), content)
