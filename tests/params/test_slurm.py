"""What a stage's job asks for."""

from __future__ import annotations

from pathlib import Path

from cdm_kedro.params.files import read_parameters
from cdm_kedro.params.slurm import SlurmParams


def test_a_stage_has_its_own_values_then_the_first_pattern_that_fits() -> None:
    stages = {"*_table": {}, "table*": {"gpus": 8}, "table3_states": {"gpus": 2}}
    params = SlurmParams.model_validate({"cpus": 4, "stages": stages})
    names = ("table3_states", "table3_none_s0", "table3_table", "grids")
    assert [(params.job(name).gpus, params.job(name).cpus) for name in names] == [(2, 4), (8, 4), (0, 4), (0, 4)]


def test_rows_and_ablations_of_imagenet_get_gpus_and_tables_none() -> None:
    conf = Path(__file__).resolve().parents[2] / "conf"
    for env, working, writing in (
        ("imagenet", ("table3_states", "table4_flips", "flips_with", "sr256_batch", "cas_real_128"), "table3_table"),
        ("imagenet_ablation16to64", ("table2_single", "sr64_s101", "base64"), "table2_table"),
    ):
        params = read_parameters(conf, env).read("slurm", SlurmParams)
        assert all(params.job(stage).gpus == 8 for stage in working) and params.job(writing).gpus == 0
