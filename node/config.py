"""One frozen configuration from flags, environment and a TOML file, in that order of precedence."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from node.errors import ConfigError
from protocol.dispatch import KNOWN_CLASSES

ENV_PREFIX = "PROVERNET_"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChainConfig(_Section):
    """Where the chain is and which deployment on it."""

    rpc_url: str
    deployment: Path
    confirmations: int = Field(default=1, ge=1, le=1_000)
    """Blocks on top of (and including) one before its events count as final."""


class NetworkConfig(_Section):
    """The libp2p listener."""

    listen: str = Field(
        default="/ip4/127.0.0.1/tcp/9000", pattern=r"^/ip[46]/[0-9A-Fa-f.:]+/tcp/[0-9]{1,5}$"
    )


class ApiConfig(_Section):
    """The HTTP API; other than on loopback it needs a certificate."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    tls_certificate: Path | None = None
    tls_key: Path | None = None


class ProvingConfig(_Section):
    """Workers and where programs and scratch files are."""

    programs: Path
    workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=1_024)
    worker_memory_mb: int = Field(default=1_024, ge=128, le=1_048_576)
    """Most address space of a worker in MiB; at least what the tiers of the offers need."""
    scratch: Path | None = None
    """Fast disk for proving; the data folder if unset. Holds private inputs, mode 0700."""


class MarketConfig(_Section):
    """What this operator offers in one class."""

    slots: int = Field(ge=0, le=65_535)
    price_wei: int = Field(ge=1, lt=2**96)


class ProbationConfig(_Section):
    """Trying newcomers that this operator sponsors; the treasury pays back what that costs."""

    max_fee_wei: int = Field(default=0, ge=0, lt=2**96)
    """Most to pay for one, from the escrow of the session account; 0: sponsor nobody."""


class LogConfig(_Section):
    """The log on standard output."""

    format: Literal["console", "json"] = "console"
    level: Literal["debug", "info", "warning", "error"] = "info"


class NodeConfig(BaseSettings):
    """Everything a node is told; validated once, frozen, paths absolute."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    data_dir: Path
    keys_dir: Path
    password_file: Path | None = None
    chain: ChainConfig
    network: NetworkConfig = NetworkConfig()
    api: ApiConfig = ApiConfig()
    proving: ProvingConfig
    market: dict[Annotated[str, Field(pattern=r"^[a-z0-9]+/(S|M|L|XL)$")], MarketConfig] = {}
    probation: ProbationConfig = ProbationConfig()
    log: LogConfig = LogConfig()

    @field_validator("api")
    @classmethod
    def _api_is_private_or_tls(cls, api: ApiConfig) -> ApiConfig:
        if api.host not in LOOPBACK and not (api.tls_certificate and api.tls_key):
            raise ValueError(f"{api.host} is not loopback and tls_certificate, tls_key are not set")
        return api


def _absolute(model: BaseModel, base: Path) -> dict[str, object]:
    values: dict[str, object] = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, Path):
            value = value if value.is_absolute() else (base / value).resolve()
        elif isinstance(value, BaseModel):
            value = value.model_copy(update=_absolute(value, base))
        values[name] = value
    return values


def load_config(path: Path, flags: Mapping[str, object] | None = None) -> NodeConfig:
    """Read a TOML file; variables such as `PROVERNET_CHAIN__RPC_URL` override it, flags both.

    Flags are nested: {"api": {"port": 1}}. Relative paths are relative to the file. Raises
    ConfigError naming the key and the mend.
    """

    class _FromFile(NodeConfig):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the base class has it
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    if not path.is_file():
        raise ConfigError(f"there is no configuration file {path}", "give --config FILE")
    try:
        config = _FromFile(**(flags or {}))  # type: ignore[arg-type]
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise ConfigError(f"can not read {path}: {exc}", "mend the file") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"{path}: there is no setting {key}", "remove it or mend it") from exc
        raise ConfigError(f"{path}: {key}: {first['msg']}", f"set {key} in the file") from exc
    except SettingsError as exc:
        raise ConfigError(f"the environment is not usable: {exc}", "mend that variable") from exc
    _check_worker_memory(config)
    return config.model_copy(update=_absolute(config, path.resolve().parent))


def _check_worker_memory(config: NodeConfig) -> None:
    """Refuse offers in classes whose largest circuits the workers could not prove."""
    granted_mb = config.proving.worker_memory_mb
    for job_class in KNOWN_CLASSES.values():
        offer, needed = config.market.get(job_class.name), job_class.tier.value.memory_bytes
        if offer is None or not offer.slots or needed is None or needed <= granted_mb << 20:
            continue
        raise ConfigError(
            f"proving.worker_memory_mb is {granted_mb}, which is too little for {job_class.name}",
            f"set it to {needed >> 20} or more, or offer no slots of that class",
        )
