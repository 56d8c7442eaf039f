"""`kedro evaluate-samples` and `kedro reference-statistics`: anyone's images, judged by the same code."""

import json
from pathlib import Path
from typing import Any

import click

from cdm_kedro.cli.command import Command, refuse_output

_OPTIONS = (
    click.Option(["--extractor"], help="efficientnet_lite0, inception2015 (then it is FID), dinov2_vit{s,b,l}14."),
    click.Option(["--weights"], help="Weights file of inception2015 or DINOv2."),
    click.Option(["--input-side"], type=int, help="Pixels that efficientnet_lite0 and DINOv2 see."),
    click.Option(["--batch-size"], type=int, help="Images at once."),
    click.Option(["--max-images"], type=int, help="At most so many images of each set; else all."),
    click.Option(["--size"], type=int, help="Crop and resize folders of images to this side: 32, 64, 128 or 256."),
    click.Option(["--env", "-e"], envvar="KEDRO_ENV", help="Environment whose evaluate.* parameters are the defaults."),
)


def _params(root: Path, env: str | None, given: dict[str, Any]) -> Any:
    from cdm_kedro.params.evaluation import EvaluateParams
    from cdm_kedro.params.files import read_parameters

    found, options = read_parameters(root / "conf", env), {k: v for k, v in given.items() if v is not None}
    found.values["evaluate"] = {**(found.get("evaluate") or {}), "max_images": None, **options}
    return found.read("evaluate", EvaluateParams)


@click.command("evaluate-samples", cls=Command, params=[*_OPTIONS])
@click.argument("samples", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--reference",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Statistics (npz with mu and sigma), or real images: a folder, a .beton file, an npz with arr_0.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="JSON file; else printed.")
@click.pass_obj
def evaluate_samples(
    metadata: Any, samples: Path, reference: Path, output: Path | None, size: int | None, env: str | None, **given: Any
) -> None:
    """Judge SAMPLES: an npz in the ADM evaluator's convention (arr_0 uint8 NHWC), a folder of images or a .beton file.

    Gives the Fréchet distance (FID with inception2015), kernel distance, Inception-style score, precision and recall
    as JSON. A reference of mu and sigma alone holds no features, so it gives the Fréchet distance alone.
    """
    refuse_output(*[output] if output else [], inputs=[samples, reference])
    params = _params(metadata.project_path, env, given)
    from cdm_kedro.evaluation.external import score_samples

    text = json.dumps(score_samples(params, samples, reference, size), indent=2, allow_nan=False, ensure_ascii=False)
    if output is not None:
        output.write_text(text + "\n", encoding="utf-8")
    click.echo(text if output is None else f"wrote {output}")


@click.command("reference-statistics", cls=Command, params=[*_OPTIONS])
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="npz file.")
@click.pass_obj
def reference_statistics(
    metadata: Any, source: Path, output: Path, size: int | None, env: str | None, **given: Any
) -> None:
    """Write mu and sigma of SOURCE's features: a folder of images, a .beton file or an npz with arr_0.

    pytorch-fid and the ADM evaluator read the file; ours also finds in it which network made it, the number of images,
    and features of some of them for kernel distance, precision and recall.
    """
    if output.suffix != ".npz":
        raise click.ClickException(f"{output}: the name must end in .npz")
    refuse_output(output, inputs=[source])
    params = _params(metadata.project_path, env, given)
    from cdm_kedro.evaluation.external import write_statistics

    click.echo(f"wrote {output}: {write_statistics(params, source, output, size)}")
