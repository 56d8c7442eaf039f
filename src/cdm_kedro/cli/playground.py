"""`kedro playground`: a page that samples the cascade while one looks on, and enlarges pictures."""

import asyncio
import time
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from cdm_kedro.cli.command import Command, env_option
from cdm_kedro.cli.sampling import find_trained, read_input
from cdm_kedro.sampling.tiles import png_text

_ONE_AT_A_TIME = asyncio.Lock()


@click.command(cls=Command)
@env_option("Environment whose models are played with.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0 lets other machines in.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.pass_obj
def playground(metadata: Any, env: str | None, host: str, port: int) -> None:
    """Serve a page: choose a class, a seed, s and steps and see every size appear, or upload a picture to enlarge."""
    if find_spec("nicegui") is None:
        raise click.ClickException("nicegui is not installed: pip install -c constraints.txt nicegui")
    trained = find_trained(metadata.project_path, env)
    from nicegui import ui

    ui.run(lambda: _Page(*trained), host=host, port=port, title="Cascade", show=False, reload=False)


class _Page:
    """What one visitor sees. The models work for one visitor at a time."""

    def __init__(self, shape: Any, classes: list[str], load: Any) -> None:
        from nicegui import ui

        self.classes, self.load = classes, load
        self.lows = [model.low_resolution for model in shape.models if model.low_resolution is not None]
        ui.label("A picture grows from noise, and each model enlarges the one before").classes("text-h5")
        with ui.row().classes("items-start"):
            self.name = ui.select(classes, value=classes[0], label="class").classes("w-40")
            self.seed = ui.number("seed", value=0, min=0, precision=0).classes("w-24")
            self.settings = {
                key: ui.number(key, min=least, precision=0).props(f'hint="{hint}"').classes("w-40")
                for key, least, hint in (("s", 0, "noise on what is enlarged"), ("steps", 1, "of every model"))
            }
            ui.button("Sample", on_click=lambda: self.show()).classes("mt-3")
            ui.upload(label="Or enlarge a picture", on_upload=lambda file: self.show(file), auto_upload=True)
        self.said = ui.label("An empty s or steps is as the parameters have it. Your picture should be of the class.")
        self.tiles = {}
        with ui.row():
            for side in shape.resolutions:
                with ui.column().classes("gap-1"):
                    picture = ui.image().classes("w-64 h-64 bg-grey-2").style("image-rendering: pixelated")
                    self.tiles[side] = picture, ui.label(f"{side} px")

    async def show(self, upload: Any = None) -> None:  # samples, or enlarges the picture
        from nicegui import run

        self.said.text = "The models are at work for someone; this waits its turn."
        async with _ONE_AT_A_TIME:
            seed, started = int(self.seed.value or 0), time.monotonic()
            self.said.text = f"{self.name.value}, seed {seed}"
            for side, (picture, caption) in self.tiles.items():
                picture.set_source("")
                caption.text = f"{side} px"
            try:
                images = None if upload is None else await self.read(upload)
                asked = {key: None if field.value is None else int(field.value) for key, field in self.settings.items()}
                cascade: Any = await run.io_bound(self.load, **asked)
                stream = cascade.stream([self.classes.index(self.name.value)], seed=seed, images=images)
                while (estimate := await run.io_bound(next, stream, None)) is not None:
                    after, step = time.monotonic() - started, f"step {estimate.step} of {estimate.steps}"
                    self.draw(estimate.x_start, f" after {after:.1f} s" if estimate.finished else f", {step}")
            except ValueError as error:  # as CdmError is too
                self.said.text = str(error)

    async def read(self, upload: Any) -> Any:  # (1, 3, h, h) uint8, the largest size that the picture has
        import torch

        with TemporaryDirectory() as folder:
            path = Path(folder) / "upload"
            await upload.file.save(path)
            upload.sender.reset()
            pixels, said = read_input(path, self.lows, upload.file.name)
        self.said.text = f"{upload.file.name}: {said}; enlarged as {self.name.value}"
        self.draw(images := torch.from_numpy(pixels).permute(2, 0, 1)[None], ", your picture")
        return images

    def draw(self, images: Any, said: str) -> None:
        picture, caption = self.tiles[images.shape[-1]]
        picture.set_source(f"data:image/png;base64,{png_text(images[0])}")
        caption.text = f"{images.shape[-1]} px{said}"
