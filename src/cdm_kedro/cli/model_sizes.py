"""`kedro model-sizes`: parameters, FLOPs and training cost of every model."""

from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option


@click.command("model-sizes", cls=Command)
@env_option("Environment whose models are counted.")
@click.option("--num-classes", default=1000, show_default=True, type=click.IntRange(1), help="Classes of the data.")
@click.option("--tflops", default=400.0, show_default=True, type=click.FloatRange(1e-9), help="Sustained Tera-FLOP/s.")
@click.pass_obj
def model_sizes(metadata: Any, env: str | None, num_classes: int, tflops: float) -> None:
    """Print parameters, FLOPs an image and training cost of every model."""
    from cdm_kedro.model.sizes import model_size
    from cdm_kedro.params.cascade import read_cascade
    from cdm_kedro.params.files import read_parameters
    from cdm_kedro.params.model import parse_model

    conf = metadata.project_path / "conf"
    values, _ = read_parameters(conf, env)
    click.echo(
        f"{'model':10}{'parameters':>15}{'GFLOPs/image':>15}{'training EFLOPs':>18}{f'days at {tflops:g} TFLOP/s':>24}"
    )
    for name in read_cascade(conf, env).names:
        size = model_size(parse_model(values[name]), num_classes)
        days = size.training_flops / (tflops * 1e12) / 86400
        click.echo(
            f"{name:10}{size.parameters:>15,}{size.forward_flops / 1e9:>15,.1f}"
            f"{size.training_flops / 1e18:>18,.1f}{days:>24,.2f}"
        )
