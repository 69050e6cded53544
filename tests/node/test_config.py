from __future__ import annotations

import pytest

from node.config import load_config
from node.errors import ConfigError
from protocol.dispatch import Tier


@pytest.fixture
def write(tmp_path):
    def write(worker_memory_mb, market=""):
        path = tmp_path / "node.toml"
        path.write_text(
            f"""
data_dir = "data"
keys_dir = "keys"
chain = {{ rpc_url = "http://127.0.0.1:8545", deployment = "deployment.json" }}
proving = {{ programs = "programs", worker_memory_mb = {worker_memory_mb} }}
{market}
"""
        )
        return path

    return write


def offer(name, slots=1):
    return f'market."{name}" = {{ slots = {slots}, price_wei = 1 }}'


@pytest.mark.parametrize("tier", [Tier.S, Tier.M, Tier.L])
def test_workers_have_the_memory_that_an_offered_class_needs(write, tier):
    name, needed_mb = f"groth16/{tier.name}", tier.value.memory_bytes >> 20
    assert load_config(write(needed_mb, offer(name))).market[name].slots == 1
    with pytest.raises(ConfigError) as refused:
        load_config(write(needed_mb - 1, offer(name)))
    assert name in refused.value.cause
    assert str(needed_mb) in refused.value.mend


@pytest.mark.parametrize("market", ["", offer("groth16/L", slots=0), offer("groth16/XL")])
def test_what_is_not_offered_or_has_no_end_asks_for_no_memory(write, market):
    load_config(write(128, market))
