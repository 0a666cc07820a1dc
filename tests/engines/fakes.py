"""A stand-in for the module `tensorrt` that computes nothing and has exactly the names of one release.

Its objects do what the code relies on and no more; every member that the release lacks is taken away, and setting one that
it lacks fails as it would there. So one path can be walked through releases that cannot be installed here.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from typing import Any

from edgebind.engines.flavour import Flavour

Api = dict[str, list[str]]
ENUMS = (
    "BuilderFlag",
    "ComputeCapability",
    "DeviceType",
    "HardwareCompatibilityLevel",
    "MemoryPoolType",
    "NetworkDefinitionCreationFlag",
)
PLAN = b"plan"


class Strict:
    """Takes only the attributes of its class in that release."""

    _made: Any
    """The module it is a class of."""

    def __setattr__(self, name: str, value: object) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no {name} in this release")
        object.__setattr__(self, name, value)


class Logger(Strict):
    ERROR, INTERNAL_ERROR = "error", "internal error"

    def log(self, severity: object, message: str) -> None: ...


class Monitor(Strict):
    def phase_start(self, phase: str, parent: str | None, steps: int) -> None: ...
    def step_complete(self, phase: str, step: int) -> bool:
        return True

    def phase_finish(self, phase: str) -> None: ...


class Cache(Strict):
    def __init__(self, data: bytes) -> None:
        self._data = data

    def serialize(self) -> bytes:
        return self._data + b"+measured"


class Tensor(Strict):
    name, shape = "input", (-1, 6, 10)


class Network(Strict):
    num_inputs = num_outputs = 1

    def get_input(self, index: int) -> Tensor:
        return self._made.ITensor()


class Parser(Strict):
    num_errors = 0
    read: list[tuple[bytes, str]] = []  # noqa: RUF012

    def __init__(self, network: Network, logger: Logger) -> None: ...
    def parse_from_file(self, path: str) -> bool:
        return True

    def parse(self, model: bytes, path: str) -> bool:
        self.read.append((model, path))
        return True


class Profile(Strict):
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        self._shapes = shapes


class Config(Strict):
    progress_monitor = hardware_compatibility_level = default_device_type = DLA_core = num_compute_capabilities = None

    def __init__(self) -> None:
        self._flags = {"TF32"}
        self._cache: Cache | None = None
        self._limits: dict[str, int] = {}
        self._profiles: list[object] = []
        self._capabilities: dict[int, object] = {}

    def set_flag(self, flag: enum.Enum) -> None:
        self._flags.add(flag.name)

    def clear_flag(self, flag: enum.Enum) -> None:
        self._flags.discard(flag.name)

    def set_memory_pool_limit(self, pool: enum.Enum, size: int) -> None:
        self._limits[pool.name] = size

    def add_optimization_profile(self, profile: Profile) -> int:
        self._profiles.append(profile._shapes)
        return len(self._profiles) - 1

    def create_timing_cache(self, data: bytes) -> Cache | None:
        return None if data == b"broken" else self._made.ITimingCache(data)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        self._cache = cache
        return cache._data != b"of another GPU"

    def get_timing_cache(self) -> Cache | None:
        return self._cache

    def set_compute_capability(self, capability: object, place: int) -> bool:
        self._capabilities[place] = capability
        return True

    def get_compute_capability(self, place: int) -> object:
        return self._capabilities[place]


class Builder(Strict):
    num_DLA_cores = 2
    configs: list[Config] = []  # noqa: RUF012  (what was asked of the builder, for the tests to look at)
    outcome: Callable[[Logger], bytes | None] = staticmethod(lambda logger: PLAN)

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def create_network(self, flags: int) -> Network:
        return self._made.INetworkDefinition()

    def create_builder_config(self) -> Config:
        self.configs.append(self._made.IBuilderConfig())
        return self.configs[-1]

    def create_optimization_profile(self) -> Profile:
        return self._made.IOptimizationProfile()

    def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
        monitor: Any = config.progress_monitor
        monitor.phase_start("build", None, 2)
        going_on = all(monitor.step_complete("build", step) for step in range(2))
        monitor.phase_finish("build")
        return type(self).outcome(self._logger) if going_on else None


class Runtime(Strict):
    engine_host_code_allowed: bool | None = None
    DLA_core = -1
    outcome: Callable[[bytes, Logger], object] = staticmethod(lambda data, logger: data)

    def __init__(self, logger: Logger) -> None:
        self._logger = logger

    def deserialize_cuda_engine(self, data: bytes) -> object:
        assert self.engine_host_code_allowed is False
        return type(self).outcome(data, self._logger)


class Refitter(Strict):
    def __init__(self, engine: object, logger: Logger) -> None: ...
    def refit_cuda_engine(self) -> bool:
        return True


class ParserRefitter(Strict):
    read: list[str] = []  # noqa: RUF012

    def __init__(self, refitter: Refitter, logger: Logger) -> None: ...
    def refit_from_file(self, path: str) -> bool:
        self.read.append(path)
        return True

    def refit_from_bytes(self, model: bytes, path: str) -> bool:
        self.read.append(path)
        return b"pixels" in model


CLASSES: dict[str, type] = {
    "ILogger": Logger,
    "IProgressMonitor": Monitor,
    "ITimingCache": Cache,
    "ITensor": Tensor,
    "INetworkDefinition": Network,
    "OnnxParser": Parser,
    "IOptimizationProfile": Profile,
    "IBuilderConfig": Config,
    "Builder": Builder,
    "Runtime": Runtime,
    "Refitter": Refitter,
    "OnnxParserRefitter": ParserRefitter,
}
OURS = {"configs", "outcome", "read"}
"""What tests look at and set, and TensorRT does not have."""


def module(api: Api, version: str) -> Any:
    """The module as that release has it; its classes are fresh, so that what they record is one test's own."""
    made: Any = types.ModuleType("tensorrt")
    made.__version__ = version
    for name in ENUMS:
        if name in api:
            values = [(member, _value(member, place)) for place, member in enumerate(api[name])]
            setattr(made, name, enum.IntEnum(name, values))
    for name, kind in CLASSES.items():
        known = {*api[name], *OURS}
        members: dict[str, Any] = {
            key: value for key, value in vars(kind).items() if key.startswith("_") or key in known
        }
        members |= {key: [] for key in ("configs", "read") if key in members}
        members["_made"] = made
        setattr(made, name, type(name, (Strict,), members))
    return made


def _value(member: str, place: int) -> int:
    """Of an enum's member: compute capabilities are their number, others are renumbered from release to release."""
    return int(member.removeprefix("SM")) if member.startswith("SM") else place


def flavour(api: Api, version: str) -> Flavour:
    return Flavour(
        "rtx" if version.startswith("rtx") else "tensorrt", version.removeprefix("rtx-"), module(api, version)
    )
