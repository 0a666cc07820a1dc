"""Torch models: ImageBind's towers and how they are read and written. Needs the extra `train`.

    from edgebind.models import checkpoint

    towers = checkpoint.load_towers("imagebind_huge.pth", ["imu", "thermal"])
    vectors = towers["imu"](windows)  # (batch, 6, 2000) -> (batch, 1024), unit rows

Nothing is imported here, so that a device without torch can import the package beside it.
"""
